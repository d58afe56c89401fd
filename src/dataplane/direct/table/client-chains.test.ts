import { expect, test } from 'vitest';
import { clientChain, clientChains } from './client-chains.ts';

test.each<[number, readonly string[]]>([
  [1, ['meta l4proto tcp 10s', 'meta l4proto != tcp 180s']],
  [120, ['meta l4proto tcp 120s', 'meta l4proto != tcp 180s']],
  [180, ['300s']],
  [10_800, ['10800s']],
])(
  'with a timeout of %i s a client is kept for as long, rounded up, and for three minutes if it is not of TCP',
  (seconds, kept) => {
    for (const family of [4, 6] as const) {
      const chain = clientChain(family, seconds);
      const [, body = ''] = clientChains(family, 'jhash ip saddr').split(`chain ${chain} {`);
      const updates = (body.split('}\n')[0] ?? '').matchAll(
        /\n\t\t(.*)update @clients .* timeout (\d+s) .*goto send(\d)/g,
      );
      expect(Array.from(updates, ([, match = '', timeout, to]) => [`${match}${timeout}`, to])).toEqual(
        kept.map((each) => [each, String(family)]),
      );
    }
  },
);
