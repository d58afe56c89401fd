import { expect, test } from 'vitest';
import { recordMetrics } from '../../../../test/sim/observers.ts';
import { virtualClock } from '../../../../test/sim/virtual-clock.ts';
import { RuntimeError } from '../runtime/client.ts';
import { parseOldWorkers, parseReloads } from './master-answers.ts';
import { makeOldWorkers, parseSessions } from './old-workers.ts';

// Shortened answers of HAProxy 2.6.12.
const proc = [
  '#<PID>          <type>          <reloads>       <uptime>        <version>      ',
  '17951           master          2 [failed: 0]   0d00h00m03s     2.6.12-1+deb12u4',
  '# workers',
  '18158           worker          0               0d00h00m01s     2.6.12-1+deb12u4',
  '# old workers',
  '17954           worker          1               0d00h00m03s     2.6.12-1+deb12u4',
  '17953           worker          2               0d00h00m04s     2.6.12-1+deb12u4',
  '# programs',
  '17000           prog            0               0d00h00m04s     -',
  '',
].join('\n');
const session = (id: string, backend: string, server: string): string =>
  `${id}: proto=tcpv4 src=10.0.0.1:33760 fe=services be=${backend} srv=${server} ts=00 epoch=0 age=2s`;

const { signal } = new AbortController();

test('show proc: the old workers, and neither the one that serves nor programs', () => {
  expect(parseOldWorkers(proc)).toEqual([17_954, 17_953]);
  expect(parseOldWorkers(proc.replace(/# old[^#]*/, ''))).toEqual([]);
  expect(parseOldWorkers('')).toEqual([]);
});

test('show proc: how often the master has reloaded', () => {
  expect(parseReloads(proc)).toBe(2);
  expect(parseReloads(proc.replace(/^.* master.*\n/m, ''))).toBeUndefined();
});

test('show sess: id, backend and server', () => {
  const answer = [session('0x5643ab8e0ab0', 'nodes4', 'n1'), session('0x7fc1', '<NONE>', '<none>'), ''].join('\n');
  expect(parseSessions(answer)).toEqual([
    { id: '0x5643ab8e0ab0', backend: 'nodes4', server: 'n1' },
    { id: '0x7fc1', backend: '<NONE>', server: '<none>' },
  ]);
});

test('only the connections to these servers are reset, on each old worker, even if one has ended meanwhile', async () => {
  const said: string[] = [];
  const master = async (text: string): Promise<string> => {
    said.push(text.replace('\nquit\n', ''));
    if (text.startsWith('show proc')) return proc;
    if (text === '@!17954 show sess\nquit\n') throw new RuntimeError('broken', 'closed');
    return [session('0x1', 'nodes4', 'n1'), session('0x2', 'nodes4', 'n2'), session('0x3', 'nodes4', 'n1'), ''].join(
      '\n',
    );
  };
  const workers = makeOldWorkers({ master, clock: virtualClock(), metrics: recordMetrics() });
  expect(await workers.end(({ server }) => server === 'n1', signal)).toBe(false); // of the other one, nothing is known
  expect(said.at(-1)).toBe('@!17953 shutdown session 0x1;@!17953 shutdown session 0x3');
  expect(said).toHaveLength(4);
});

test('a master that does not answer is not an error: the last count stays', async () => {
  let isAbsent = false;
  const master = async (): Promise<string> => {
    if (isAbsent) throw new RuntimeError('absent', 'ENOENT');
    return proc;
  };
  const workers = makeOldWorkers({ master, clock: virtualClock(), metrics: recordMetrics() });
  expect((await workers.find(signal)).length).toBe(2);
  isAbsent = true;
  expect(await workers.end(() => true, signal)).toBe(false);
  expect([(await workers.find(signal)).length, workers.known().length]).toEqual([2, 2]);
});

test('they are counted after a change of the serving worker, and until there are none', async () => {
  let asked = 0;
  let answer = '';
  const master = async (text: string): Promise<string> => {
    if (text === '@!17953 show info\nquit\n') return 'CurrConns: 5\n';
    if (text.startsWith('@!')) return "Can't find the target PID matching the prefix"; // it has ended
    asked++;
    return answer;
  };
  const metrics = recordMetrics();
  const workers = makeOldWorkers({ master, clock: virtualClock(), metrics });
  const counts: (readonly [asked: number, known: number])[] = [];
  const second = async (pid: number): Promise<void> => {
    await workers.watch(pid, signal);
    counts.push([asked, workers.known().length]);
    expect(metrics.gaugeOf('furiwake_haproxy_old_workers')).toBe(workers.known().length);
    expect(await workers.connections(signal)).toBe(workers.known().length === 0 ? 0 : 5);
  };
  for (let time = 0; time < 3; time++) await second(1);
  answer = proc;
  for (let time = 0; time < 2; time++) await second(2);
  answer = '';
  for (let time = 0; time < 3; time++) await second(2);
  expect(counts).toEqual([
    [1, 0],
    [1, 0],
    [1, 0],
    [2, 2],
    [3, 2],
    [4, 0],
    [4, 0],
    [4, 0],
  ]);
});

test.each([
  ['the master, which reads its configuration, answers nothing', () => true, 0],
  ['one worker hangs', (text: string) => text.startsWith('@!17954 '), 5],
])('%s: a count takes less than the three seconds of `status`', async (_, hangs, connections) => {
  const clock = virtualClock();
  let isHanging = false;
  const master = async (text: string): Promise<string> => {
    if (isHanging && hangs(text)) {
      await clock.sleep(3_000, signal);
      throw new RuntimeError('silent', 'no answer within 3 s');
    }
    return text.startsWith('show proc') ? proc : 'CurrConns: 5\n';
  };
  const workers = makeOldWorkers({ master, clock, metrics: recordMetrics() });
  await workers.find(signal);
  isHanging = true;
  const startMs = clock.monotonic();
  expect(await clock.drive(workers.find(signal))).toEqual([17_954, 17_953]);
  const counted = Promise.all([workers.connections(signal), workers.ask('show stat -1 4 -1', signal)]);
  expect((await clock.drive(counted))[0]).toBe(connections);
  expect(clock.monotonic() - startMs).toBeLessThan(2_500);
});

test('after a reload there may be old workers until the master has answered', async () => {
  let isStarting = false;
  const master = async (): Promise<string> => {
    if (isStarting) throw new RuntimeError('absent', 'ECONNREFUSED');
    return '';
  };
  const workers = makeOldWorkers({ master, clock: virtualClock(), metrics: recordMetrics() });
  await workers.watch(1, signal);
  expect([workers.mayRun(1), workers.mayRun(2)]).toEqual([false, true]);
  isStarting = true;
  await workers.watch(2, signal);
  expect(workers.mayRun(2)).toBe(true);
  isStarting = false;
  await workers.watch(2, signal);
  expect(workers.mayRun(2)).toBe(false);
});
