/** How a check went: `ok`, `warning` (works, but look at it), `wrong` (furiwake cannot do its job so). */
export const marks = { ok: 'ok', warning: 'warning', wrong: 'wrong' } as const;
export type Mark = 'ok' | 'warning' | 'wrong';

/** One thing that was looked at. `advice`: what to do, where something is to be done. */
export type Finding = { readonly mark: Mark; readonly what: string; readonly found: string; readonly advice?: string };

export function ok(what: string, found: string): Finding {
  return { mark: marks.ok, what, found };
}

export function warning(what: string, found: string, advice: string): Finding {
  return { mark: marks.warning, what, found, advice };
}

export function wrong(what: string, found: string, advice: string): Finding {
  return { mark: marks.wrong, what, found, advice };
}

/** What `look` finds. One that fails is a finding itself and keeps no other; only the signal's reason is thrown on. */
export async function findingsOf(
  what: string,
  look: () => Promise<Finding | readonly Finding[]>,
  signal: AbortSignal,
): Promise<readonly Finding[]> {
  try {
    return [await look()].flat();
  } catch (error) {
    signal.throwIfAborted();
    const words = error instanceof Error ? error.message : String(error);
    return [
      wrong(what, `could not be looked at: ${words.replaceAll(/\s*\n\s*/g, '; ')}`, 'mend that, and check again'),
    ];
  }
}
