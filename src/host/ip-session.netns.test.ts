import { afterAll, beforeAll, expect, test } from 'vitest';
import { type NetLab, startNetLab } from '../../test/netns/net-lab.ts';
import { systemClock } from '../main/node/clock.ts';
import { ExecError } from '../ports/exec.ts';
import { type IpSession, makeIpSession } from './ip-session.ts';

const { signal } = new AbortController();
const lifetime = new AbortController();
let lab: NetLab;
let session: IpSession;

beforeAll(async () => {
  lab = await startNetLab({ nodes: 0 });
  session = makeIpSession({ exec: lab.balancer.execPort, clock: systemClock, lifetime: lifetime.signal });
});
afterAll(async () => {
  lifetime.abort();
  await lab[Symbol.asyncDispose]();
});

const addresses = (): Promise<string> => lab.balancer.exec('ip', '-4', '-oneline', 'address', 'show', 'dev', 'lo');

test('the commands have taken effect when it resolves', async () => {
  await session.run(['address add 10.50.0.1/32 dev lo', 'address add 10.50.0.2/32 dev lo'], signal);
  expect(await addresses()).toMatch(/10\.50\.0\.1[^]*10\.50\.0\.2/);
});

test('a refusal by the kernel is an error with its message, and the next command is executed nevertheless', async () => {
  const refused = session.run(['address add 10.50.0.3/32 dev lo', 'address add 10.50.0.3/32 dev lo'], signal);
  await expect(refused).rejects.toThrow(ExecError);
  await expect(session.run(['address add 10.50.0.4/32 dev nowhere'], signal)).rejects.toThrow('nowhere');
  await session.run(['address add 10.50.0.5/32 dev lo'], signal);
  expect(await addresses()).toContain('10.50.0.5');
});

test('an aborted call returns, and the next one is executed', async () => {
  await expect(session.run(['link show'], AbortSignal.abort(new Error('given up')))).rejects.toThrow('given up');
  await session.run(['address add 10.50.0.6/32 dev lo'], signal);
  expect(await addresses()).toContain('10.50.0.6');
});
