import { readFile } from 'node:fs/promises';
import { type AuditEvent, readAuditLog } from './cluster/audit.ts';
import { apiServerReady } from './cluster/control-plane.ts';
import { kubeconfigPath, writeKubeconfig } from './cluster/kubeconfig.ts';
import { LabError } from './errors.ts';
import { folderOf, readLabRecord } from './folder.ts';
import { type Removed, removeLab } from './leftovers.ts';
import { isAlive } from './machine/processes.ts';
import { planHosts } from './network/address-plan.ts';
import { type Host, type OwnHost, makeHost } from './network/host.ts';
import { logPathOf, partNames, readRecord, stopPart } from './network/part.ts';

/**
 * A running lab: a Kubernetes and the machines around it.
 *
 * Parts, for logs and for stopping: `cp-etcd`, `cp-apiserver`, `cp-controller-manager`, `cp-scheduler`,
 * `nN-containerd`, `nN-kubelet`, `nN-kube-proxy`, and `HOST-NAME` for a process started by {@link Host.spawn}. Those of
 * the control plane also have short names: `apiserver`.
 */
export type Lab = {
  readonly name: string;
  /** Contains all files of the lab. */
  readonly folder: string;
  readonly hosts: readonly Host[];
  /** @throws LabError `BAD_OPTION` for a host that this lab does not have. */
  host(name: string): Host;
  /** Runs kubectl as administrator and returns its output. */
  kubectl(...args: readonly string[]): Promise<string>;
  /** Creates or changes what a manifest (YAML or JSON) describes; returns the output of kubectl. */
  apply(manifest: string): Promise<string>;
  /** Path of a kubeconfig, `admin` by default; it serves on every host of the lab. */
  kubeconfig(user?: string): string;
  /** Creates a kubeconfig with a token of a ServiceAccount, valid for a day; returns its path. */
  serviceAccountKubeconfig(namespace: string, name: string): Promise<string>;
  /** The log of a part so far. @throws LabError `NO_SUCH_PART` */
  logs(part: string): Promise<string>;
  /** The log file of a part. */
  logPath(part: string): Promise<string>;
  /**
   * Ends a part of the lab: TERM, and KILL after `graceMs` (default 10,000). The API server continues to serve its
   * watches during this time; use 0 to end it at once.
   */
  stopPart(part: string, options?: { readonly graceMs?: number; readonly signal?: AbortSignal }): Promise<void>;
  /** Starts it again as it was, unless it runs; resolves for `apiserver` when it is ready to serve. */
  startPart(part: string, signal?: AbortSignal): Promise<void>;
  /** The audit events of the users in the option `auditUsers`. */
  auditLog(): Promise<readonly AuditEvent[]>;
  /** Removes the lab from the machine. */
  down(signal?: AbortSignal): Promise<Removed>;
};

export type OwnLab = Lab & { readonly hosts: readonly OwnHost[] };

/**
 * Attaches to a lab that was started by another process and kept.
 *
 * @throws LabError `NO_SUCH_LAB` if it is not running.
 */
export async function openLab(name: string, signal: AbortSignal): Promise<Lab> {
  const folder = folderOf(name);
  const record = await readLabRecord(folder);
  if (record?.isUp !== true)
    throw new LabError('NO_SUCH_LAB', `lab ${name} is not up`, `npm run lab -- up --name ${name}`);
  const hosts = planHosts(record.size).map((plan) => makeHost(plan, { lab: name, folder, signal }));
  return makeLab(name, folder, hosts, signal);
}

/** The lab in `folder`, seen through its hosts; starts nothing. */
export function makeLab(name: string, folder: string, hosts: readonly OwnHost[], labSignal: AbortSignal): OwnLab {
  const host = (wanted: string): OwnHost => {
    const found = hosts.find((candidate) => candidate.name === wanted);
    if (found !== undefined) return found;
    const names = hosts.map((one) => one.name).join(', ');
    throw new LabError('BAD_OPTION', `lab ${name} has no host ${wanted}`, `It has ${names}.`);
  };
  const cp = host('cp');
  const join = (signal?: AbortSignal): AbortSignal => (signal ? AbortSignal.any([signal, labSignal]) : labSignal);
  const kubectl = async (args: readonly string[], stdin = ''): Promise<string> =>
    (await cp.exec(['kubectl', ...args], { stdin, timeoutMs: 120_000 })).stdout;
  const logPath = async (part: string): Promise<string> => logPathOf(folder, await fullName(folder, part));
  return {
    name,
    folder,
    hosts,
    host,
    kubectl: (...args) => kubectl(args),
    apply: (manifest) => kubectl(['apply', '--filename', '-'], manifest),
    kubeconfig: (user = 'admin') => kubeconfigPath(folder, user),
    serviceAccountKubeconfig: async (namespace, account) => {
      const token = await kubectl(['create', 'token', account, '--namespace', namespace, '--duration', '24h']);
      return writeKubeconfig(folder, `${namespace}-${account}`, token.trim());
    },
    logs: async (part) => readFile(await logPath(part), 'utf8'),
    logPath,
    stopPart: async (part, { graceMs, signal } = {}) => {
      await stopPart(folder, await fullName(folder, part), join(signal), graceMs);
    },
    startPart: async (part, signal) => {
      const record = await readRecord(folder, await fullName(folder, part));
      if (record.process !== undefined && (await isAlive(record.process))) return;
      await host(record.host).spawn(record.name.slice(record.host.length + 1), record.argv, { env: record.env });
      if (record.name === 'cp-apiserver') await apiServerReady(cp, folder, join(signal));
    },
    auditLog: () => readAuditLog(folder),
    down: (signal = new AbortController().signal) => removeLab(name, folder, signal), // even after the lab's own signal
  };
}

/** A part's own name; those of the control plane may be called without its `cp-`. */
async function fullName(folder: string, part: string): Promise<string> {
  const parts = await partNames(folder);
  const found = [part, `cp-${part}`].find((name) => parts.includes(name));
  if (found !== undefined) return found;
  throw new LabError('NO_SUCH_PART', `this lab has no part ${JSON.stringify(part)}`, `It has ${parts.join(', ')}.`);
}
