import { balances, checkPathPattern, type Profile } from './options.ts';

/** How the text of an annotation is read; `valid` describes the texts that are. */
export type OptionFormat<T> = { readonly valid: string; readonly read: (text: string) => T | undefined };

function count(most: number): OptionFormat<number> {
  return {
    valid: `1 to ${most}`,
    read: (text) => (/^[1-9]\d{0,6}$/.test(text) && Number(text) <= most ? Number(text) : undefined),
  };
}

const unitsMs: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };

/** A number with a unit, as ms; both limits are valid. */
export function duration(least: string, most: string): OptionFormat<number> {
  const msOf = (text: string): number => {
    const [, digits = '', unit = ''] = /^(\d{1,7})(ms|s|m|h)$/.exec(text) ?? [];
    return digits === '' ? Number.NaN : Number(digits) * (unitsMs[unit] ?? Number.NaN);
  };
  return {
    valid: `${least} to ${most}; units: ${Object.keys(unitsMs).join(', ')}`,
    read: (text) => (msOf(text) >= msOf(least) && msOf(text) <= msOf(most) ? msOf(text) : undefined),
  };
}

/** The name of an algorithm. */
export const balance: OptionFormat<Profile['balance']> = {
  valid: balances.join(', '),
  read: (text) => balances.find((name) => name === text),
};

/** The path of an HTTP check, empty for TCP. A URL (`http://host/path`) is not one. */
export const healthCheck: OptionFormat<string> = {
  valid: 'tcp, http:/path',
  read: (text) => {
    if (text === 'tcp') return '';
    const [, path] = /^http:(\/(?!\/).*)$/.exec(text) ?? [];
    return path !== undefined && checkPathPattern.test(path) ? path : undefined;
  },
};

/** The only value of an annotation that asks for one thing. */
export const yes: OptionFormat<boolean> = { valid: 'true', read: (text) => (text === 'true' ? true : undefined) };

/** A number of connections, or of new ones per second. */
export const connections: OptionFormat<number> = count(1_000_000);
/** A number of checks in a row. */
export const checks: OptionFormat<number> = count(100);
