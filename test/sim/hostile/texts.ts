import fc from 'fast-check';

/** Stands in a text for a word of its own for each Service, so that a text that reaches another one is found. */
export const markPlace = 'MARK';

/** A word that occurs in no configuration, command or other name. */
export function markOf(key: string): string {
  return `pwned${key.replaceAll(/\W/g, '')}`;
}

/** Valid in no field but a sharing key and the name of a pool. */
export const hostileText: fc.Arbitrary<string> = fc.constantFrom(
  markPlace,
  `192.0.2.8\n    server ${markPlace} 192.0.2.1`,
  `192.0.2.8;shutdown sessions ${markPlace}`,
  `"'${markPlace}\\`,
  `%[env(${markPlace})]`,
  `--${markPlace}`,
  `$(touch /tmp/${markPlace})`,
  `192.0.2.8 } ; flush ruleset ; # ${markPlace}`,
  `192.0.2.8\u0000${markPlace}`,
  `${markPlace}\u0001\u001B[31m`,
  `\u202E${markPlace}\u009B`,
  `pods\n${markPlace}`,
  `v2,${markPlace}`,
  `http:/ready HTTP/1.0 ${markPlace}`,
  `10.0.0.0/8,${markPlace}/0`,
  ','.repeat(500) + markPlace,
  `1${markPlace.repeat(2_000)}`,
);
/** What no field should have. */
export const wrongValue: fc.Arbitrary<unknown> = fc.oneof(
  hostileText,
  fc.constantFrom<unknown>(null, true, -1, 0, 0.5, 65_536, 2 ** 53, 1e300, '', '0', [], {}, [[]], [null], { MARK: 1 }),
);

/** One of the valid values, and now and then a wrong one. */
export function mostly(...valid: readonly unknown[]): fc.Arbitrary<unknown> {
  return fc.oneof({ weight: 12, arbitrary: fc.constantFrom(...valid) }, { weight: 1, arbitrary: wrongValue });
}
