import type { Brand } from './model/names.ts';

/** A hash of content: equal revisions mean equal content. */
export type Revision = Brand<'Revision'>;

/**
 * Hashes a text (cyrb53, 53 bits). Only revisions of the same key are compared, so collisions do not matter. Not for
 * security.
 */
export function revisionOf(content: string): Revision {
  let high = 0xdeadbeef;
  let low = 0x41c6ce57;
  for (let index = 0; index < content.length; index++) {
    const code = content.charCodeAt(index);
    high = Math.imul(high ^ code, 2_654_435_761);
    low = Math.imul(low ^ code, 1_597_334_677);
  }
  high = Math.imul(high ^ (high >>> 16), 2_246_822_507) ^ Math.imul(low ^ (low >>> 13), 3_266_489_909);
  low = Math.imul(low ^ (low >>> 16), 2_246_822_507) ^ Math.imul(high ^ (high >>> 13), 3_266_489_909);
  return (4_294_967_296 * (2_097_151 & low) + (high >>> 0)).toString(36) as Revision;
}
