import { expect, test } from 'vitest';
import { udp } from '../../test/make/service.ts';
import { blankReport } from '../../test/make/status.ts';
import { addressOf, directListener, localListener, localTable, node, type Weights } from '../../test/make/table.ts';
import { PersistentMap } from '../core/persistent-map.ts';
import { emptyReport, type NodeHealth } from '../core/traffic/report.ts';
import { judgeUnreached, unansweredGraceMs, type UnansweredSince } from './unreached.ts';

const nodes = [node('n1', '192.0.2.11'), node('n2', '192.0.2.12'), node('n3', '192.0.2.13')];
const { backend } = localListener('192.0.2.8', 53, 0);
const dns = directListener('192.0.2.8', 53, { isPublished: true, backend });
const address = { ip: addressOf('192.0.2.8'), isHostAddress: false, served: [udp(53)], unserved: [] };

/** What the condition says over time, of nodes with these verdicts; all have endpoints unless `weights` says otherwise. */
function makeJudge() {
  let since: UnansweredSince | undefined;
  return (
    nowMs: number,
    verdicts: Readonly<Record<string, NodeHealth>>,
    weights: Weights = { n1: 1, n2: 1, n3: 1 },
  ) => {
    const judged = judgeUnreached(
      { addresses: [address] },
      localTable([[dns, weights]], nodes),
      {
        ...emptyReport,
        listeners: PersistentMap.from([[dns.key, { ...blankReport, isForwarding: true }] as const]),
        health: new Map(nodes.map(({ name }) => [name, { 4: verdicts[name] ?? 'up' }])),
      },
      [],
      since,
      nowMs,
    );
    since = judged.since;
    return [judged.unreached?.[4]?.match(/n\d/g)?.join(' '), judged.later?.requeueAfterMs];
  };
}

const [n2, both] = [{ n2: 'silent' }, { n2: 'silent', n3: 'silent' }] as const;

test('a node that does not answer is named after a minute, each by its own time', () => {
  const judge = makeJudge();
  expect(judge(500, n2)).toEqual([undefined, unansweredGraceMs]);
  expect(judge(40_500, both)).toEqual([undefined, 20_000]);
  expect(judge(60_499, both)).toEqual([undefined, 1]);
  expect(judge(60_500, both)).toEqual(['n2', 40_000]);
  expect(judge(100_500, both)).toEqual(['n2 n3', undefined]);
  expect(judge(100_501, {})).toEqual([undefined, undefined]);
});

test('a node that reboots is not named: its time begins again when it has answered, or its endpoints were not ready', () => {
  const judge = makeJudge();
  judge(0, n2);
  expect(judge(50_000, n2, { n1: 1 })).toEqual([undefined, undefined]);
  expect(judge(70_000, n2)).toEqual([undefined, unansweredGraceMs]);
  expect(judge(100_000, {})).toEqual([undefined, undefined]);
  expect(judge(129_000, n2)).toEqual([undefined, unansweredGraceMs]);
  expect(judge(188_999, n2)).toEqual([undefined, 1]);
});
