import type { ElementCounter } from '../../src/dataplane/nftables/element-counters.ts';

const attribute = (number: number, ...values: readonly Buffer[]): Buffer => {
  const value = Buffer.concat(values);
  const head = new Uint16Array([4 + value.length, number]);
  return Buffer.concat([Buffer.from(head.buffer), value, Buffer.alloc(-value.length & 3)]);
};
const text = (value: string): Buffer => Buffer.from(`${value}\0`);
const count = (value: number): Buffer => {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(BigInt(value));
  return bytes;
};

/** The kernel's message about elements of a set that count, by their keys in hex. `isInterrupted`: the set changed meanwhile. */
export function elementAnswer(
  set: string,
  counters: Readonly<Record<string, ElementCounter>>,
  isInterrupted = false,
): Buffer {
  const elements = Object.entries(counters).map(([key, { packets, bytes }]) => {
    const figures = attribute(2, attribute(1, count(bytes)), attribute(2, count(packets)));
    const expression = attribute(7, attribute(1, text('counter')), figures);
    return attribute(1, attribute(1, attribute(1, Buffer.from(key, 'hex'))), expression);
  });
  const body = [Buffer.from([1, 0, 0, 0]), attribute(1, text('t')), attribute(2, text(set)), attribute(3, ...elements)];
  const rest = Buffer.concat(body);
  const head = Buffer.alloc(16);
  new Uint32Array(head.buffer, head.byteOffset, 1)[0] = 16 + rest.length;
  new Uint16Array(head.buffer, head.byteOffset + 4, 2).set([0x0a0c, isInterrupted ? 0x10 : 0]);
  return Buffer.concat([head, rest]);
}
