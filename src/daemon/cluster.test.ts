import { expect, test } from 'vitest';
import { type Asked, clientOf, refuse } from '../../test/make/client.ts';
import { ranges } from '../../test/make/service.ts';
import { type LogLine, recordLog } from '../../test/sim/observers.ts';
import { virtualClock } from '../../test/sim/virtual-clock.ts';
import { KubeError } from '../kube/errors.ts';
import { StartError } from './errors.ts';
import { assertAccess, prepareCluster } from './cluster.ts';

/** The answers of a complete API server. */
function answerOf({ path }: Asked): unknown {
  const last = path.split('/').at(-1);
  const items: Readonly<Record<string, readonly unknown[]>> = {
    servicecidrs: [{ spec: { cidrs: ['10.96.0.0/16', 'fd00:10:96::/112'] } }],
    nodes: [{ metadata: { name: 'n1' }, spec: { podCIDRs: ['10.244.0.0/24'] } }],
    services: [
      { metadata: { namespace: 'default', name: 'none' }, spec: { clusterIPs: ['None'] } },
      { metadata: { namespace: 'default', name: 'kubernetes' }, spec: { clusterIPs: ['10.32.0.1'] } },
    ],
  };
  if (last === 'version') return { major: '1', minor: '37', gitVersion: 'v1.37.2' };
  if (last === 'selfsubjectaccessreviews') return { status: { allowed: true } };
  return { metadata: {}, items: items[last ?? ''] ?? [] };
}

/** The outcome with that API server, except where `answer` gives another answer; in virtual time. */
async function prepare(
  answer: (asked: Asked, count: number) => unknown,
  addresses: readonly string[] = ['192.0.2.0/28'],
): Promise<{ readonly ended: unknown; readonly warnings: readonly LogLine[]; readonly tookMs: number }> {
  const counts = new Map<string, number>();
  const client = clientOf((asked) => {
    const count = (counts.get(asked.path) ?? 0) + 1;
    counts.set(asked.path, count);
    return answer(asked, count) ?? answerOf(asked);
  });
  const clock = virtualClock();
  const log = recordLog();
  const deps = { client, server: 'https://api', leaseNamespace: 'furiwake-system', clock, log };
  const prepared = prepareCluster(deps, ranges(...addresses), new AbortController().signal);
  const ended = await clock.drive(prepared).then(
    ({ gitVersion }) => gitVersion,
    (error: unknown) => error,
  );
  return { ended, warnings: log.lines.filter(({ level }) => level === 'warn'), tookMs: clock.monotonic() };
}

const steps = ['version', 'selfsubjectaccessreviews', 'servicecidrs', 'nodes'];
const transient = ['SERVER', 'UNREACHABLE', 'TIMEOUT', 'THROTTLED'] as const;

test.each(steps.flatMap((step) => transient.map((code) => [step, code] as const)))(
  'furiwake waits for an API server that is starting, %s: %s, and logs it',
  async (step, code) => {
    const { ended, warnings } = await prepare((asked, count) => {
      if (asked.path.endsWith(step) && count <= 4) refuse(code, asked);
    });
    expect(ended).toBe('v1.37.2');
    expect(warnings.length).toBeGreaterThan(0);
    expect(new Set(warnings.map(({ message }) => message))).toEqual(
      new Set(['connecting to the API server failed; retrying']),
    );
  },
);

test('furiwake asks an overloaded API server again when that says, not sooner', async () => {
  const { ended, tookMs } = await prepare(({ path, verb }, count) => {
    if (path.endsWith('version') && count === 1)
      throw new KubeError({ code: 'THROTTLED', message: 'too many requests', verb, path, retryAfterMs: 60_000 });
  });
  expect(ended).toBe('v1.37.2');
  expect(tookMs).toBe(60_000);
});

test.each([
  ['version', 'UNAUTHORIZED', /refused with UNAUTHORIZED.*invalid or has expired/],
  ['version', 'CREDENTIALS', /^no credentials for the API server https:\/\/api: refused/],
  ['selfsubjectaccessreviews', 'FORBIDDEN', /forbids access/],
  ['version', 'NOT_FOUND', /does not answer as a Kubernetes API server .*: check the server/],
  ['version', 'PROTOCOL', /does not answer as a Kubernetes API server/],
] as const)('%s: %s repeatedly is one clear line; once is not', async (step, code, words) => {
  const refuseUpTo = (times: number) =>
    prepare((asked, count) => {
      if (asked.path.endsWith(step) && count <= times) refuse(code, asked);
    });
  const { ended, warnings } = await refuseUpTo(Number.POSITIVE_INFINITY);
  expect(ended).toBeInstanceOf(StartError);
  expect(warnings).toEqual([]);
  expect((ended as Error).message).toMatch(words);
  expect((ended as Error).message).not.toContain('\n');
  expect(await refuseUpTo(1)).toMatchObject({ ended: 'v1.37.2' });
});

test.each([
  ['TIMEOUT', 'the API server https://api does not answer: refused with TIMEOUT'],
  ['UNAUTHORIZED', 'https://api: refused with UNAUTHORIZED: the token or certificate'],
] as const)('while %s, the reason names the API server', async (code, words) => {
  const said: string[] = [];
  const answers = [code];
  const client = clientOf((asked) => {
    const refusal = answers.pop();
    return refusal === undefined ? answerOf(asked) : refuse(refusal, asked);
  });
  const clock = virtualClock();
  const onTrouble = (each: string): void => void said.push(each);
  const deps = { client, server: 'https://api', leaseNamespace: 'ns', clock, log: recordLog(), onTrouble };
  await clock.drive(prepareCluster(deps, ranges('192.0.2.0/28'), new AbortController().signal));
  expect(said).toEqual([expect.stringContaining(words)]);
});

test('an untrusted server certificate is not reported as an unreachable server', async () => {
  const { ended } = await prepare((asked) => refuse('UNTRUSTED', asked));
  expect(ended).toMatchObject({ code: 'START', message: expect.stringMatching(/check certificate-authority/) });
});

test.each([
  ['an old server', 'version', { major: '1', minor: '31+', gitVersion: 'v1.31.9' }, /is Kubernetes v1\.31\.9/],
  [
    'missing rights',
    'selfsubjectaccessreviews',
    { status: { allowed: false } },
    /^missing permissions: list services, .*leases.* in furiwake-system; run: kubectl apply --filename deploy\/furiwake\.yaml, /,
  ],
])('%s is one clear line', async (_, step, answer, words) => {
  const { ended } = await prepare(({ path }) => (path.endsWith(step) ? answer : undefined));
  expect(ended).toMatchObject({ code: 'START', message: expect.stringMatching(words) });
});

test('a Lease namespace without permissions is not blamed on deploy/', async () => {
  const { ended } = await prepare(({ path, body }) =>
    path.endsWith('reviews') ? { status: { allowed: !JSON.stringify(body).includes('leases') } } : undefined,
  );
  expect((ended as Error).message).toMatch(
    /^missing permissions: get leases\S+ in furiwake-system, [^;]*; check --lease-namespace: /,
  );
});

const withoutCidrs = (asked: Asked): void => {
  if (asked.path.endsWith('servicecidrs')) refuse('NOT_FOUND', asked);
};

test.each([
  ['10.96.7.0/24', () => undefined, /overlaps the Service CIDR 10\.96\.0\.0\/16/],
  ['fd00:10:96::/120', () => undefined, /overlaps the Service CIDR fd00:10:96::\/112/],
  ['10.244.0.9', () => undefined, /overlaps the Pod CIDR of node n1 10\.244\.0\.0\/24/],
  ['10.32.0.0/28', withoutCidrs, /overlaps the clusterIP 10\.32\.0\.1 of Service default\/kubernetes/],
])('%s is refused if the cluster has it', async (addresses, answer, words) => {
  const { ended } = await prepare(answer, [addresses]);
  expect(ended).toMatchObject({ code: 'START', message: expect.stringMatching(words) });
});

test('a cluster that does not show its Service CIDR is reported', async () => {
  const { ended, warnings } = await prepare(withoutCidrs);
  expect(ended).toBe('v1.37.2');
  expect(warnings).toMatchObject([{ message: expect.stringMatching(/does not show its Service CIDR.*--addresses/) }]);
});

test('a signal meanwhile ends the wait', async () => {
  const end = new AbortController();
  const client = clientOf((asked) => {
    end.abort(new Error('enough'));
    return refuse('SERVER', asked);
  });
  const deps = { client, server: '', leaseNamespace: 'ns', clock: virtualClock(), log: recordLog() };
  await expect(prepareCluster(deps, [], end.signal)).rejects.toThrow('enough');
});

test.each([
  [
    'SERVER',
    /^the API server https:\/\/api does not answer \(.*SERVER\): try again when it does, or without --cluster/,
  ],
  ['UNAUTHORIZED', /^https:\/\/api: refused with UNAUTHORIZED/],
] as const)('without waiting the outcome is immediate: %s', async (code, words) => {
  const clock = virtualClock();
  const client = clientOf((asked) => refuse(code, asked));
  const deps = { client, server: 'https://api', leaseNamespace: 'ns', clock, log: recordLog() };
  await expect(assertAccess(deps, new AbortController().signal)).rejects.toMatchObject({
    code: 'START',
    message: expect.stringMatching(words),
  });
  expect(clock.monotonic()).toBe(0);
});
