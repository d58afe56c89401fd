import { expect, test } from 'vitest';
import { recordLog } from '../../../../test/sim/observers.ts';
import { makeAffinity } from './affinity.ts';
import { makeRuntimeApi, promptText } from './client.ts';

const { signal } = new AbortController();
const table = (...rows: readonly string[]): string =>
  ['# table: affinity4-60, type: string, size:102400, used:2', ...rows.map((row) => `0x55c8: ${row}`)].join('\n');
const states = (...servers: readonly string[]): string =>
  ['1', '# be_id be_name srv_id srv_name srv_addr', ...servers.map((each) => `3 ${each} 10.244.1.7`)].join('\n');
const declared = new Set(['nodes4', 'spare4-0', 'affinity4-60']);

/** A worker that gives these answers, and `''` to all other commands; `undefined`: it closes the connection. */
function worker(answers: Readonly<Record<string, string | undefined>>) {
  const commands: string[] = [];
  const log = recordLog();
  const request = async (_: string, text: string): Promise<string> => {
    const asked = text
      .split('\n')
      .slice(1, -2)
      .flatMap((line) => line.split(';'));
    commands.push(...asked);
    const said = asked.map((command) => (command in answers ? answers[command] : ''));
    return said.includes(undefined) ? '' : `${promptText}${said.map((each) => `${each}\n${promptText}`).join('')}`;
  };
  const sockets = { request, untilClosed: () => Promise.reject(new Error('not used')), connect: () => unused() };
  return { affinity: makeAffinity({ api: makeRuntimeApi({ sockets, path: '/worker.sock' }), log }), commands, log };
}

function unused(): never {
  throw new Error('not used');
}

test('the next worker gets the servers of clients by their numbers there, without those that it does not have', async () => {
  const before = worker({
    'show table affinity4-60': table(
      'key=7F000001|spare4-0 use=0 exp=59989 server_id=2 server_key=pod_10.244.1.7_8080',
      'key=7F000002|spare4-0 use=0 exp=59989 server_id=1 server_key=pod_10.244.1.8_8080',
      'key=7F000003|spare4-0 use=0 exp=60000 server_id=2 server_key=-',
      'key=7F000004|spare4-0 use=0 exp=60000 server_id=9 server_key=-',
      'key=7F000005|spare4-1 use=0 exp=60000 server_id=1 server_key=pod_10.244.1.9_8080',
    ),
    'show servers state spare4-0': states('spare4-0 2 pod_10.244.1.7_8080', 'spare4-0 1 pod_10.244.1.8_8080'),
  });
  const remembered = await before.affinity.read(declared, signal);
  const after = worker({
    'show servers state spare4-0': states('spare4-0 7 pod_10.244.1.7_8080'),
  });
  await after.affinity.write(remembered, declared, signal);
  expect(after.commands).toEqual([
    'show servers state spare4-0',
    'set table affinity4-60 key 7F000001|spare4-0 data.server_id 7',
    'set table affinity4-60 key 7F000003|spare4-0 data.server_id 7',
  ]);
});

test('without a table of affinity nothing is asked', async () => {
  const { affinity, commands } = worker({});
  const backends = new Set(['nodes4', 'spare4-0']);
  await affinity.write(await affinity.read(backends, signal), backends, signal);
  expect(commands).toEqual([]);
});

test('a worker that does not answer is logged, and the reload continues', async () => {
  const { affinity, log } = worker({
    'show table affinity4-60': undefined,
    'show servers state spare4-0': undefined,
  });
  expect(await affinity.read(declared, signal)).toEqual([]);
  await affinity.write([{ table: 'affinity4-60', key: '7F000001|spare4-0', server: 'n1' }], declared, signal);
  expect(log.lines.map(({ level, message }) => `${level}: ${message}`)).toEqual(
    [0, 1].map(() => expect.stringMatching(/^warn: the servers of clients with session affinity are not kept/)),
  );
});
