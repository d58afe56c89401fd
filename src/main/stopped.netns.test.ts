import { rmSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { kubeconfigOf } from '../../test/make/kubeconfig.ts';
import { type NetLab, startNetLab } from '../../test/netns/net-lab.ts';
import { patience } from '../../test/netns/patience.ts';

const program = fileURLToPath(new URL('furiwake.ts', import.meta.url));
const server = 'https://10.10.0.2:6443';

let lab: NetLab;

beforeAll(async () => {
  lab = await startNetLab({ nodes: 1 });
  await lab.client.setSilent(true);
  await writeFile(`${lab.folder}/kubeconfig`, kubeconfigOf({ token: 't' }, { server }));
});
afterAll(async () => {
  const name = await lab.balancer.exec('readlink', '/proc/self/ns/net');
  rmSync(`/run/furiwake/net-${/\d+/.exec(name)?.[0]}`, { recursive: true, force: true });
  await lab[Symbol.asyncDispose]();
});

test.each([
  ['', [], 'stopped; this host stays as last configured. To stop its traffic, run: furiwake cleanup'],
  [' with --stop-traffic-on-exit', ['--stop-traffic-on-exit'], 'stopped, and the traffic with it'],
])(
  'run%s names the API server at once, outlives SIGHUP, and says at its end what continues',
  async (_, flags, last) => {
    const args = ['--kubeconfig', `${lab.folder}/kubeconfig`, '--state-dir', `${lab.folder}/state`, ...flags];
    const log = ['--log-format', 'text', '--metrics-address', 'none', '--addresses', '10.50.0.8'];
    const end = new AbortController();
    await using child = lab.balancer.execPort.spawn(process.execPath, [program, 'run', ...args, ...log], end.signal);
    let said = '';
    const hear = async (): Promise<string> => (said += await child.takeErrors());
    await expect.poll(hear, patience).toContain(`INFO  connecting to the API server ${server}\n`);
    expect(said).not.toMatch(/WARN|ERROR/);
    process.kill(child.pid, 'SIGHUP');
    await expect.poll(hear, patience).toContain('SIGHUP: reading the credentials again\n');
    process.kill(child.pid, 'SIGINT');
    expect(await child.exited).toBe(0);
    expect((await hear()).split('\n').at(-2)).toMatch(/ INFO /);
    expect(said.trimEnd().endsWith(last)).toBe(true);
  },
);

test('check that is interrupted while it waits for the API server ends with one line', async () => {
  const args = ['check', '--kubeconfig', `${lab.folder}/kubeconfig`, '--addresses', '10.50.0.8'];
  const end = new AbortController();
  await using child = lab.balancer.execPort.spawn(process.execPath, [program, ...args], end.signal);
  for await (const line of child.lines) if (line.includes('kubeconfig  ')) break;
  process.kill(child.pid, 'SIGTERM');
  expect(await child.exited).toBe(1);
  expect(await child.takeErrors()).toBe('error: interrupted by SIGTERM\n');
});
