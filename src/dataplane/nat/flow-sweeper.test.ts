import { expect, test } from 'vitest';
import { execOf } from '../../../test/make/exec.ts';
import { natListener } from '../../../test/make/table.ts';
import { ip } from '../../../test/make/service.ts';
import { recordLog, recordMetrics } from '../../../test/sim/observers.ts';
import { type BackendId, serviceKey } from '../../core/model/names.ts';
import { PersistentMap } from '../../core/persistent-map.ts';
import { type Listener, localBackend } from '../../core/traffic/table.ts';
import { makeFlowSweeper } from './flow-sweeper.ts';
import type { FlowPlaces } from './program.ts';

const { signal } = new AbortController();
const local = (name: string, port: number): Listener => {
  const service = serviceKey('test', name);
  return natListener('203.0.113.1', port, 30_000 + port, {
    protocol: 'TCP',
    service,
    backend: localBackend(4, service),
  });
};
const [web, mail] = [local('web', 80), local('mail', 25)];
const many = Array.from({ length: 100 }, (_, index) => local('many', 1_000 + index));
const nodes = { n1: ip('192.0.2.11'), n2: ip('192.0.2.12') };
type Name = keyof typeof nodes;

function placesOf(members: readonly (readonly [Listener, readonly Name[]])[], lost: readonly Name[] = []): FlowPlaces {
  return {
    hosted: PersistentMap.empty(),
    members: new Map(
      members.map(([{ backend }, names]): [BackendId, never[]] => [
        backend,
        names.map((name) => nodes[name]) as never[],
      ]),
    ),
    lost: lost.map((name) => nodes[name]),
  };
}

/** What the kernel is asked for by the sweep after each of these. */
async function asked(...steps: readonly (readonly [listeners: readonly Listener[], places: FlowPlaces])[]) {
  const questions: string[] = [];
  const exec = execOf((_, { stdin }) => {
    questions.push(String(stdin));
    return '0';
  });
  const sweeper = makeFlowSweeper({ exec, log: recordLog(), metrics: recordMetrics() });
  const shown: (string | undefined)[] = [];
  for (const [listeners, places] of steps) {
    questions.length = 0;
    sweeper.note(PersistentMap.from(listeners.map((each) => [each.key, each])), places);
    await sweeper.sweep(signal);
    const lines = questions[0]?.split('\n');
    const ports = lines?.flatMap((line) => /^changed 6 cb007101 (\d+)/.exec(line)?.[1] ?? []).join(' ');
    shown.push(lines && (lines.includes('whole') ? 'whole' : ports));
  }
  return shown;
}

test('a node that leaves one backend costs a question for the listeners of that backend, not for all flows', async () => {
  const all = [web, mail];
  expect(
    await asked(
      [
        all,
        placesOf([
          [web, ['n1', 'n2']],
          [mail, ['n1', 'n2']],
        ]),
      ],
      [
        all,
        placesOf([
          [web, ['n1']],
          [mail, ['n1', 'n2']],
        ]),
      ],
      [
        all,
        placesOf([
          [web, ['n1']],
          [mail, ['n1', 'n2']],
        ]),
      ],
    ),
  ).toEqual(['whole', '80', undefined]);
});

test('a node that is lost, and one that leaves the backend of many listeners, cost one question for all flows', async () => {
  const all = [web, ...many];
  const [first] = many;
  if (first === undefined) throw new Error('there are many');
  expect(
    await asked(
      [
        all,
        placesOf([
          [web, ['n1', 'n2']],
          [first, ['n1', 'n2']],
        ]),
      ],
      [
        all,
        placesOf(
          [
            [web, ['n1']],
            [first, ['n1']],
          ],
          ['n2'],
        ),
      ],
      [
        all,
        placesOf([
          [web, ['n1']],
          [first, ['n1']],
        ]),
      ],
      [
        all,
        placesOf([
          [web, ['n1']],
          [first, ['n1', 'n2']],
        ]),
      ],
    ),
  ).toEqual(['whole', 'whole', 'whole', 'whole']);
});

test('the flows of a listener that came and went while conntrack could not be asked are ended, and hold its port until then', async () => {
  const questions: string[] = [];
  let fails = false;
  const exec = execOf((_, { stdin }) => {
    if (fails) throw new Error('conntrack cannot be asked');
    questions.push(String(stdin));
    return '0';
  });
  const sweeper = makeFlowSweeper({ exec, log: recordLog(), metrics: recordMetrics() });
  const of = (...all: readonly Listener[]) => PersistentMap.from(all.map((each) => [each.key, each]));
  const other = { ...mail, service: serviceKey('test', 'other'), uid: 'other' as never };
  sweeper.note(of(web), placesOf([]));
  await sweeper.sweep(signal);
  fails = true;
  for (const listeners of [of(web, mail), of(web)]) {
    sweeper.note(listeners, placesOf([]));
    await expect(sweeper.sweep(signal)).rejects.toThrow('cannot be asked');
    expect(sweeper.handedOver(of(web, mail))).toEqual([]);
  }
  expect(sweeper.handedOver(of(web, other))).toEqual([mail.key]);
  fails = false;
  questions.length = 0;
  await sweeper.sweep(signal);
  expect(questions).toEqual([expect.stringContaining('changed 6 cb007101 25\n')]);
  expect(sweeper.handedOver(of(web, other))).toEqual([]);
});
