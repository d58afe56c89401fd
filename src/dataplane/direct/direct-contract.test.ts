import { directContract, type Fate, refusedRange } from '../../../test/contract/direct.ts';
import { makeFakeDirect } from '../../../test/make/fake-direct.ts';
import { addressOf, node } from '../../../test/make/table.ts';
import { formatRange, rangeContains } from '../../core/ip/range.ts';
import type { Listener } from '../../core/traffic/table.ts';

const client = addressOf('198.51.100.2');
const nodes = [node('n1', '192.0.2.11'), node('n2', '192.0.2.12')];

directContract('the fake that the tests of the agent use', async () => {
  let isRefusing = false;
  let isBroken = false;
  const fake = makeFakeDirect({
    refuse: ({ sourceRanges = [] }) =>
      isRefusing && sourceRanges.some((range) => formatRange(range) === refusedRange)
        ? 'nft: Error: Prefix length is invalid'
        : undefined,
    step: async (name) => {
      if (isBroken && name === 'apply') throw new Error('nft: Error: Operation not permitted');
    },
  });
  const { direct, counted } = fake;
  fake.setOnLink(new Set([4]));
  const fateOf = ({ key }: Listener): Fate => {
    const held = fake.held.get(key);
    if (held === undefined) return 'left';
    const count = counted.get(key) ?? { flows: 0, packets: 0, bytes: 0, refused: 0 };
    const isAllowed = held.sourceRanges?.some((range) => rangeContains(range, client)) ?? true;
    if (!isAllowed) {
      counted.set(key, { ...count, refused: count.refused + 1 });
      return 'dropped';
    }
    if (!direct.isForwarding(key)) return held.standIn === undefined && !fake.isServerless(key) ? 'dropped' : 'left';
    counted.set(key, { ...count, flows: count.flows + 1, packets: count.packets + 1, bytes: count.bytes + 29 });
    return 'served';
  };
  return {
    direct,
    nodes,
    fateOf: async (listener) => fateOf(listener),
    setAnswering: (isAnswering) =>
      fake.setClosed(!isAnswering, new Map(isAnswering ? [] : nodes.map(({ name }) => [name, { 4: 'noAnswer' }]))),
    setOnLink: (isOnLink) => fake.setOnLink(new Set(isOnLink ? [4] : [])),
    setRefusing: (now) => {
      isRefusing = now;
    },
    breakAll: (now) => {
      isBroken = now;
    },
    remove: async ({ key }) => {
      fake.held = fake.held.with([[key, undefined]]);
    },
    [Symbol.asyncDispose]: async () => undefined,
  };
});
