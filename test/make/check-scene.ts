import { probeBy } from './probe-by.ts';
import { check } from '../../src/cli/check.ts';
import type { ApiConnection, Connect } from '../../src/cli/check/connection.ts';
import type { GroupedFinding } from '../../src/cli/check/finding.ts';
import type { KubeProxyAnswer } from '../../src/health/kube-proxy-sync.ts';
import type { CheckAnswer } from '../../src/ports/health.ts';
import { systemClock } from '../../src/main/node/clock.ts';
import type { Platform } from '../../src/daemon/platform.ts';
import type { RunningProgram } from '../../src/ports/exec.ts';
import { ExecError } from '../../src/ports/exec.ts';
import { filesOf } from '../sim/harness.ts';
import { recordLog, recordMetrics } from '../sim/observers.ts';
import { type Asked, clientOf } from './client.ts';
import { execOf } from './exec.ts';
import { makeMachine, makeOptions } from './machine.ts';

/** A host and a cluster as `furiwake check` sees them: all is well, but for what a test says differently. */
export type CheckScene = {
  /** What programs answer, by the beginning of the command line; an error is thrown. */
  readonly programs?: Readonly<Record<string, string | Error>>;
  readonly files?: Readonly<Record<string, string>>;
  readonly machine?: Partial<Platform>;
  /** As typed; by default with a pool that is routed to the host. */
  readonly flags?: Readonly<Record<string, string>>;
  /** What the API server answers; `undefined`: as one where all is well. */
  readonly answer?: (asked: Asked) => unknown;
  /** Objects that it lists, by plural. */
  readonly objects?: Readonly<Record<string, readonly object[]>>;
  readonly probe?: (address: string) => CheckAnswer;
  /** What the kube-proxy at an address answers; by default that it has synced IPv4. */
  readonly kubeProxy?: (address: string) => KubeProxyAnswer | undefined;
  readonly connect?: Connect;
  /** About the connection to the API server. */
  readonly warnings?: ApiConnection['warnings'];
  readonly columns?: number;
  readonly isColoured?: boolean;
};

export const limits = (hard: string): string =>
  `Max open files            1024                 ${hard}              files\n`;

const well: Readonly<Record<string, string | Error>> = {
  'haproxy -v': 'HAProxy version 2.6.12-1+deb12u4 2026/10/17 - https://haproxy.org/\nmore\n',
  'nft --version': 'nftables v1.0.6 (Lester Gooch #5)\n',
  'ip -V': 'ip utility, iproute2-6.1.0, libbpf 1.1.0\n',
  'ss -V': 'ss utility, iproute2-6.1.0\n',
  perl: '5.36.0',
  'nft --check': '',
  'unshare --net nft': '',
  'nft -j list chains': '{"nftables":[]}',
  'ip -json link': '[{"ifname":"lo"},{"ifname":"eth0","address":"02:00:00:00:00:01"}]',
  'ip -json address': JSON.stringify([
    {
      ifname: 'eth0',
      ifindex: 2,
      link_type: 'ether',
      address: '02:00:00:00:00:01',
      flags: ['UP'],
      addr_info: [{ local: '192.0.2.51', prefixlen: 24, scope: 'global' }],
    },
  ]),
  'ip -4 -json route show table main': '[{"dst":"default","gateway":"192.0.2.1","dev":"eth0"}]',
  'ip -6 -json route show table main': '[]',
  'ss -Hltn': 'LISTEN 0 128 0.0.0.0:22 0.0.0.0:*\nLISTEN 0 128 192.0.2.51:8080 0.0.0.0:*\n',
  'ss -Hlun': 'UNCONN 0 0 0.0.0.0:68 0.0.0.0:*\n',
  // No fake can end a connection of this process.
  'ss -H -4 -t -K': new ExecError('ss -K', 255, 'RTNETLINK answers: Operation not supported'),
};

const nodes: readonly object[] = ['n1', 'n2'].map((name, index) => ({
  metadata: { name },
  spec: { podCIDRs: [`10.244.${index}.0/24`] },
  status: { addresses: [{ type: 'InternalIP', address: `192.0.2.1${index + 1}` }] },
}));

/** A Service as furiwake leaves it, with this address. */
export function servedService(name: string, ip: string, manager = 'furiwake'): object {
  return {
    metadata: {
      namespace: 'default',
      name,
      managedFields: [
        {
          manager,
          subresource: 'status',
          operation: 'Apply',
          fieldsV1: { 'f:status': { 'f:loadBalancer': { 'f:ingress': {} } } },
        },
      ],
    },
    spec: { type: 'LoadBalancer', ports: [{ port: 80, nodePort: 30_080, protocol: 'TCP' }] },
    status: { loadBalancer: { ingress: [{ ip }] } },
  };
}

/** An answer of a kube-proxy. */
export function kubeProxyAnswer(syncs: KubeProxyAnswer['syncs']): KubeProxyAnswer {
  return { sentMs: 0, isHealthy: true, isSameProcess: false, syncs };
}

/** A LAN on which no other machine answers. */
const quietLan = (): RunningProgram => ({
  pid: 1,
  write: async () => undefined,
  lines: (async function* () {
    yield 'sent';
    await new Promise(() => undefined);
  })(),
  takeErrors: async () => '',
  exited: new Promise(() => undefined),
  [Symbol.asyncDispose]: async () => undefined,
});

/** The findings of `furiwake check --output json`. */
export async function findIn(scene: CheckScene): Promise<readonly GroupedFinding[]> {
  return JSON.parse((await runCheck(scene, true)).text) as readonly GroupedFinding[];
}

/** Runs `furiwake check`: its exit code, and what it writes. */
export async function runCheck(
  scene: CheckScene,
  isJson = false,
): Promise<{ readonly code: number; readonly text: string }> {
  const programs = Object.entries({ ...well, ...scene.programs });
  const exec = execOf((command) => {
    // The longest beginning that fits: `ss -Hltnp` before `ss -Hltn`.
    const fitting = programs.filter(([begin]) => command.startsWith(begin)).sort(([a], [b]) => b.length - a.length);
    const answer = fitting[0]?.[1] ?? new ExecError(command, undefined, 'not found', { isMissing: true });
    if (answer instanceof Error) throw answer;
    return answer;
  });
  const files = filesOf(
    new Map(
      Object.entries({
        '/proc/self/limits': limits('1048576'),
        '/proc/sys/net/ipv4/tcp_syncookies': '1\n',
        '/etc/passwd': 'root:x:0:0:root:/root:/bin/bash\nhaproxy:x:111:112::/nonexistent:/usr/sbin/nologin\n',
        ...scene.files,
      }),
    ),
  );
  const objects: Readonly<Record<string, readonly object[]>> = {
    servicecidrs: [{ spec: { cidrs: ['10.96.0.0/16'] } }],
    nodes,
    services: [],
    ...scene.objects,
  };
  const answerOf = ({ path }: Asked): unknown => {
    const last = path.split('/').at(-1) ?? '';
    if (last === 'version') return { major: '1', minor: '37', gitVersion: 'v1.37.2' };
    if (last === 'selfsubjectaccessreviews') return { status: { allowed: true } };
    if (last === 'apis') return { groups: [{ name: 'apps' }] };
    if (last === 'leases') return {};
    return { metadata: {}, items: objects[last] ?? [] };
  };
  const connect: Connect = async () => ({
    server: 'https://192.0.2.2:6443',
    identity: 'user "furiwake" of context "furiwake" in /etc/furiwake/kubeconfig',
    warnings: scene.warnings ?? [],
    client: clientOf((asked) => scene.answer?.(asked) ?? answerOf(asked)),
    [Symbol.asyncDispose]: async () => undefined,
  });

  let text = '';
  const deps = {
    version: '',
    machine: makeMachine({
      clock: systemClock,
      exec: { ...exec, spawn: quietLan },
      files,
      ...scene.machine,
    }),
    log: recordLog(),
    onReload: () => undefined,
    metrics: { ...recordMetrics(), text: async () => '', contentType: '' },
    connect: scene.connect ?? connect,
    probe: probeBy((address) => scene.probe?.(address) ?? 'ok'),
    makeKubeProxy: () => ({
      ask: async (address: { readonly text: string }) =>
        scene.kubeProxy === undefined ? kubeProxyAnswer({ 4: { id: '1', endMs: 0 } }) : scene.kubeProxy(address.text),
      close: () => undefined,
    }),
    isColoured: scene.isColoured ?? false,
    columns: scene.columns,
    write: (part: string) => {
      text += part;
    },
  };
  const options = makeOptions(scene.flags ?? { addresses: '203.0.113.0/28' });
  const code = await check(options, { ...deps, isJson }, new AbortController().signal);
  return { code, text };
}
