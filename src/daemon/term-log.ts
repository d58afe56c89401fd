import type { Log } from '../ports/log.ts';

/**
 * The log of one term of the Lease. Call `end` after its work: what failed until then is tried no more on this host, so it no longer
 * counts as failing.
 */
export function makeTermLog(log: Log): { readonly log: Log; readonly end: () => void } {
  const failing = new Map<string, number>();
  let hasEnded = false;
  const counting = (each: Log): Log => ({
    debug: (fields, message) => each.debug(fields, message),
    info: (fields, message) => each.info(fields, message),
    warn: (fields, message) => each.warn(fields, message),
    error: (fields, message) => each.error(fields, message),
    failing: (what, change) => {
      if (hasEnded) return;
      failing.set(what, (failing.get(what) ?? 0) + change);
      each.failing(what, change);
    },
    child: (fields) => counting(each.child(fields)),
  });
  return {
    log: counting(log),
    end: () => {
      hasEnded = true;
      for (const [what, count] of failing) for (let left = count; left > 0; left--) log.failing(what, -1);
    },
  };
}
