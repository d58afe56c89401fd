import { isIP } from 'node:net';
import path from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import type { Clock } from '../ports/clock.ts';
import type { Exec } from '../ports/exec.ts';
import type { Files } from '../ports/files.ts';
import type { Log } from '../ports/log.ts';
import { assertTlsMaterial, type CredentialSource, makeCredentialSource } from './credentials.ts';
import { KubeConfigError } from './errors.ts';
import { readKubeConfig, readText, type SelectedContext } from './kubeconfig.ts';
import { fileLifetimeMs, loadUserCredentials, readRequired } from './user-credentials.ts';

/** A cluster and how to authenticate to it. */
export type ClusterConfig = {
  /** Origin and path prefix, without a slash at the end: `https://10.0.0.1:6443`. */
  readonly server: string;
  /** Of the context, or of the Pod. */
  readonly namespace: string | undefined;
  /**
   * The user and the source of its credentials, for messages: `user "admin" of context "lab" in /root/.kube/config`.
   */
  readonly identity: string;
  readonly tls: { readonly insecure: boolean; readonly serverName: string | undefined };
  readonly credentials: CredentialSource;
  /** Weak points of the connection, and what to do about each. */
  readonly warnings: readonly ConnectionWarning[];
};

export type ConnectionWarning = { readonly found: string; readonly advice: string };

export type KubeConfigOptions = {
  /** Path, or several separated by `:`. */
  readonly kubeconfig?: string | undefined;
  readonly context?: string | undefined;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly homeFolder: string;
  readonly files: Files;
  readonly exec: Exec;
  readonly clock: Clock;
  readonly log: Log;
};

const podFolder = '/var/run/secrets/kubernetes.io/serviceaccount';
/** Minimum time between two readings of files that the server rejects, and between two runs of a plugin. */
const fileRestMs = 1_000;
const pluginRestMs = 10_000;

/** Logs the warnings about a connection. */
export function logWarnings({ server, warnings }: Pick<ClusterConfig, 'server' | 'warnings'>, log: Log): void {
  for (const { found, advice } of warnings) log.warn({ server }, `${found}; ${advice}`);
}

/**
 * Finds the cluster: the given path, or `KUBECONFIG`, or the Pod's service account, or `~/.kube/config`, in this order.
 * Reads all files once, so that a missing one is reported at once. Later the files are read again every minute, when
 * the server rejects the credentials, and by `credentials.reload()`. Throws {@link KubeConfigError}.
 */
export async function loadKubeConfig(options: KubeConfigOptions): Promise<ClusterConfig> {
  const { kubeconfig, context, env, homeFolder, files } = options;
  const explicit = kubeconfig || env['KUBECONFIG'];
  if (explicit) return fromFiles(explicit.split(':').filter(Boolean), options);
  if (context === undefined && env['KUBERNETES_SERVICE_HOST']) return inCluster(options);
  const home = path.join(homeFolder, '.kube/config');
  if ((await readText(files, home)) !== undefined) return fromFiles([home], options);
  throw new KubeConfigError(`no kubeconfig found: use --kubeconfig, set KUBECONFIG, or create ${home}`);
}

async function inCluster({ env, files, clock, log }: KubeConfigOptions): Promise<ClusterConfig> {
  const host = env['KUBERNETES_SERVICE_HOST'] ?? '';
  const port = env['KUBERNETES_SERVICE_PORT'] ?? '443';
  const credentials = makeCredentialSource({
    clock,
    log,
    restMs: fileRestMs,
    load: async () => {
      const token = (await readRequired(files, `${podFolder}/token`, 'service account of this Pod')).trim();
      const ca = await readRequired(files, `${podFolder}/ca.crt`, 'service account of this Pod');
      assertTlsMaterial({ ca }, `service account of this Pod: ${podFolder}/ca.crt`, '');
      return { credentials: { token, ca }, lifetimeMs: fileLifetimeMs };
    },
  });
  await credentials.current(new AbortController().signal);
  return {
    server: `https://${host.includes(':') ? `[${host}]` : host}:${port}`,
    namespace: (await readText(files, `${podFolder}/namespace`))?.trim(),
    identity: `the service account of this Pod (${podFolder})`,
    tls: { insecure: false, serverName: undefined },
    credentials,
    warnings: [],
  };
}

async function fromFiles(paths: readonly string[], options: KubeConfigOptions): Promise<ClusterConfig> {
  const { context, files, clock, log } = options;
  const first = await readSelected(paths, context, files);
  const peer = peerOf(first);
  const credentials = makeCredentialSource({
    clock,
    log,
    restMs: first.user.value.exec ? pluginRestMs : fileRestMs,
    load: async (signal) => {
      const now = await readSelected(paths, context, files);
      // Its user may belong to another cluster, so a running furiwake uses neither its credentials nor its server.
      if (!isDeepStrictEqual(peerOf(now), peer))
        throw new KubeConfigError(
          `${now.cluster.file}: the cluster of context "${now.name}" has another server or other TLS settings than ${peer.server} had; restart furiwake to use them`,
        );
      return loadUserCredentials(now, options, signal);
    },
  });
  // A plugin runs at the first request.
  const mayHaveToken =
    first.user.value.exec || (await credentials.current(new AbortController().signal)).token !== undefined;
  return {
    ...peer,
    namespace: first.namespace,
    identity: `user "${first.userName}" of context "${first.name}" in ${first.user.file}`,
    credentials,
    warnings: [
      ...(mayHaveToken && isPlainHttp(peer.server) ? [plainHttp] : []),
      ...(peer.tls.insecure ? [unverified] : []),
    ],
  };
}

async function readSelected(
  paths: readonly string[],
  context: string | undefined,
  files: Files,
): Promise<SelectedContext> {
  const selected = await readKubeConfig({ paths, context, files });
  refuseUnsupported(selected);
  return selected;
}

function peerOf({ name, cluster: { file, value } }: SelectedContext): Pick<ClusterConfig, 'server' | 'tls'> {
  return {
    server: serverOf(value.server, `${file}: cluster of context "${name}"`),
    tls: {
      insecure: value['insecure-skip-tls-verify'] ?? false,
      serverName: value['tls-server-name'] ?? undefined,
    },
  };
}

const plainHttp: ConnectionWarning = {
  found: 'the server in the kubeconfig is http://: the bearer token is sent unencrypted',
  advice: 'use https://',
};
const unverified: ConnectionWarning = {
  found:
    'insecure-skip-tls-verify is set: the certificate of the API server is not verified, so any server in between can read the credentials',
  advice: 'set certificate-authority-data in its place',
};

/** Without encryption to another host. */
function isPlainHttp(server: string): boolean {
  const { protocol, hostname } = new URL(server);
  const host = hostname.replaceAll(/^\[|\]$/g, '');
  const isLoopback = host === 'localhost' || host === '::1' || (isIP(host) === 4 && host.startsWith('127.'));
  return protocol === 'http:' && !isLoopback;
}

/** Settings that change the user or the server, and must not be ignored silently. */
function refuseUnsupported({ name, cluster, user }: SelectedContext): void {
  const where = `${cluster.file}: cluster of context "${name}"`;
  if (cluster.value['proxy-url'])
    throw new KubeConfigError(`${where}: proxy-url is not supported; use a server that needs no proxy`);
  if (
    cluster.value['insecure-skip-tls-verify'] &&
    (cluster.value['certificate-authority'] || cluster.value['certificate-authority-data'])
  )
    throw new KubeConfigError(
      `${where}: insecure-skip-tls-verify and a certificate authority exclude each other; remove one`,
    );
  const [refused] = user.value.unsupported;
  if (refused !== undefined)
    throw new KubeConfigError(
      `${user.file}: user of context "${name}": ${refused} is not supported; use a token, a client certificate or an exec plugin`,
    );
}

function serverOf(server: string, where: string): string {
  const url = URL.canParse(server) ? new URL(server) : undefined;
  if (url?.protocol !== 'https:' && url?.protocol !== 'http:')
    throw new KubeConfigError(`${where}: server "${server}" is not a valid http or https URL`);
  return `${url.origin}${url.pathname.replace(/\/+$/, '')}`;
}
