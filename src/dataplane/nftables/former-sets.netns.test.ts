import { expect, test } from 'vitest';
import { startNetLab } from '../../../test/netns/net-lab.ts';
import { recordMetrics } from '../../../test/sim/observers.ts';
import { systemClock } from '../../main/node/clock.ts';
import { directRules, directTable } from '../direct/table/ruleset.ts';
import { natRules, natTable } from '../nat/ruleset.ts';
import type { Element } from './element.ts';
import { makeKernelTable } from './kernel-table.ts';
import { renderTable, type TableSpec } from './table-text.ts';

/*
 * The tables of an earlier furiwake, in which each listener had source ranges of its own.
 */
const { signal } = new AbortController();

type Earlier = {
  readonly table: TableSpec;
  readonly rules: string;
  /** The present rules without those of the source ranges. */
  readonly without: RegExp;
  /** Those of the source ranges. */
  readonly check: string;
  /** Source ranges of a listener. */
  readonly elements: readonly Element[];
  /** A map to which the kernel adds, and an element of it. */
  readonly learnt: readonly [string, string];
};

test.each<[string, Earlier]>([
  [
    'direct',
    {
      table: directTable,
      rules: directRules(['wan'], 10_800),
      without: /^.*@ranges.*\n/gm,
      check: 'meta priority @restricted meta priority . ip saddr != @allowed4 drop',
      elements: [
        { set: 'restricted', text: '0:1' },
        { set: 'allowed4', text: '0:1 . 10.0.0.0-10.255.255.255' },
      ],
      learnt: ['pins', '0:1 . 7 : 8'],
    },
  ],
  [
    'nat',
    {
      table: natTable,
      rules: natRules,
      without: /^.*@(?:ranges|sources).*\n/gm,
      check:
        'ip daddr . meta l4proto . th dport @restricted4 ip daddr . meta l4proto . th dport . ip saddr != @allowed4 drop',
      elements: [
        { set: 'restricted4', text: '192.0.2.1 . udp . 53' },
        { set: 'allowed4', text: '192.0.2.1 . udp . 53 . 10.0.0.0-10.255.255.255' },
      ],
      learnt: ['clients4', 'udp . 53 . 192.0.2.1 . 198.51.100.1 : 7'],
    },
  ],
])('the table of %s is changed to the present form, and what the kernel has learnt stays', async (_, earlier) => {
  const { table, rules, without, check, elements, learnt } = earlier;
  const { former = {}, name } = table;
  const [map, element] = learnt;
  await using lab = await startNetLab({ nodes: 0 });
  const { balancer } = lab;
  const present = Object.entries(table.sets).filter(([set]) => !/^(?:ranges|sources)/.test(set));
  const earlierTable = { ...table, sets: { ...Object.fromEntries(present), ...former } };
  await balancer.nft(renderTable(earlierTable, elements, 7, rules.replace(without, '')));
  await balancer.nft(`add element ${name} ${map} { ${element} }\n`);
  await balancer.nft(`add rule ${name} refuse ${check}\n`);

  const kernel = makeKernelTable({
    table,
    exec: balancer.execPort,
    clock: systemClock,
    metrics: recordMetrics(),
    lifetime: signal,
  });
  expect(await kernel.replace({ elements: () => [], rules }, signal)).toBeUndefined();
  const listing = await balancer.exec('nft', 'list', 'table', ...name.split(' '));
  for (const set of Object.keys(former)) expect(listing).not.toContain(` ${set} {`);
  expect(listing).toContain('@sources4');
  expect(await balancer.exec('nft', 'list', 'map', ...name.split(' '), map)).toContain('elements');
});
