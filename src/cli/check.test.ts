import { expect, test } from 'vitest';
import { type CheckScene, findIn, runCheck, servedService } from '../../test/make/check-scene.ts';
import { ExecError } from '../ports/exec.ts';
import type { GroupedFinding } from './check/finding.ts';
import { failure, statusError } from '../kube/answers.ts';

const refused = (): never => {
  const cause = Object.assign(new Error('library words'), { code: 'ECONNREFUSED', address: '192.0.2.2', port: 6443 });
  throw failure(cause, { verb: 'get', path: '/version' });
};

const unauthorized = (): never => {
  throw statusError({ code: 401, message: 'Unauthorized' }, { verb: 'get', path: '/version' });
};
const lan = { addresses: '192.0.2.200-192.0.2.220' };

test.each<[file: string, code: number, scene: CheckScene]>([
  [
    'ready',
    0,
    {
      flags: lan,
      objects: { services: [servedService('web', '192.0.2.200')] },
    },
  ],
  ['api-server-unreachable', 1, { flags: lan, answer: refused }],
  ['token-revoked', 1, { answer: unauthorized }],
  ['permissions-missing', 1, { answer: ({ path }) => (path.endsWith('reviews') ? { status: {} } : undefined) }],
  [
    'haproxy-missing',
    1,
    { programs: { 'haproxy -v': new ExecError('haproxy -v', undefined, 'not found', { isMissing: true }) } },
  ],
  [
    'pool-exhausted',
    0,
    {
      flags: { addresses: '192.0.2.0-192.0.2.4' },
      objects: { services: [servedService('web', '192.0.2.3'), servedService('api', '192.0.2.4')] },
    },
  ],
  ['no-root-on-80-columns', 1, { machine: { isRoot: false }, columns: 80 }],
])('the screen %s', async (file, code, scene) => {
  const ran = await runCheck(scene);
  await expect(ran.text).toMatchFileSnapshot(`__golden__/check-${file}.txt`);
  expect(ran.code).toBe(code);
});

test('--output json is one list of the same findings, with the same exit code', async () => {
  const scene: CheckScene = { answer: refused };
  const [people, programs] = [await runCheck(scene), await runCheck(scene, true)];
  const findings = JSON.parse(programs.text) as readonly GroupedFinding[];
  expect(programs.code).toBe(people.code);
  expect(findings).toContainEqual({ group: 'This host', mark: 'ok', what: 'user', found: 'root' });
  const lines = people.text.split('\n').filter((line) => /^ {2}[✓!✗-] /.test(line));
  expect(findings.map(({ what, found }) => `${what.padEnd(21)}${found}`)).toEqual(lines.map((line) => line.slice(4)));
});

const noProgram = (command: string): ExecError => new ExecError(command, undefined, 'not found', { isMissing: true });
const noList: CheckScene['answer'] = ({ path }) => (path.endsWith('/nodes') ? refused() : undefined);

test.each<[lack: string, scene: CheckScene]>([
  ['root', { machine: { isRoot: false } }],
  ...['haproxy -v', 'nft --version', 'ip -V', 'ss -V', 'perl'].map((command): [string, CheckScene] => [
    command,
    { programs: { [command]: noProgram(command) } },
  ]),
  ['the addresses of this host', { programs: { 'ip -json address': noProgram('ip') } }],
  ['a kubeconfig', { connect: () => Promise.reject(new Error('no kubeconfig found')) }],
  ['an API server', { answer: refused }],
  ['permissions', { answer: ({ path }) => (path.endsWith('reviews') ? { status: {} } : undefined) }],
  ['a list of the nodes', { answer: noList }],
])('without %s each check is in the report nonetheless, and those that were not made say why', async (_, scene) => {
  const sysctls = new Set(['rp_filter', 'arp_ignore', 'tcp_syncookies', 'ip_forward']);
  const namesIn = (findings: readonly GroupedFinding[]): ReadonlySet<string> =>
    new Set(findings.map(({ group, what }) => `${group}: ${sysctls.has(what) ? 'kernel settings' : what}`));
  const findings = await findIn({ flags: lan, ...scene });
  expect(namesIn(findings)).toEqual(namesIn(await findIn({ flags: lan })));
  const omitted = findings.filter(({ mark }) => mark === 'omitted').map(({ found }) => found);
  expect(omitted.filter((words) => !/^not checked: needs [a-zA-Z ]+$/.test(words))).toEqual([]);
  expect(findings.some(({ mark }) => mark === 'problem')).toBe(true);
});
