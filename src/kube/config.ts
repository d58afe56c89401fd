import path from 'node:path';
import type { Clock } from '../ports/clock.ts';
import type { Exec } from '../ports/exec.ts';
import type { Files } from '../ports/files.ts';
import { type Credentials, type CredentialSource, fileLifetimeMs, makeCredentialSource } from './credentials.ts';
import { KubeConfigError } from './errors.ts';
import { runExecPlugin } from './exec-plugin.ts';
import { assertTlsMaterial } from './tls-material.ts';
import { type ClusterEntry, readKubeConfig, readText, resolveIn, type SelectedContext } from './kubeconfig.ts';

/** A cluster and how to be let in. */
export type ClusterConfig = {
  /** Origin and path prefix, without a slash at the end: `https://10.0.0.1:6443`. */
  readonly server: string;
  /** The context's or the Pod's namespace. */
  readonly namespace: string | undefined;
  /** Who we are and by what, for messages: `user "admin" of context "lab" in /root/.kube/config`. */
  readonly identity: string;
  readonly tls: { readonly insecure: boolean; readonly serverName: string | undefined };
  readonly credentials: CredentialSource;
};

export type KubeConfigOptions = {
  /** Path, or several with `:` between. */
  readonly kubeconfig?: string | undefined;
  readonly context?: string | undefined;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly homeFolder: string;
  readonly files: Files;
  readonly exec: Exec;
  readonly clock: Clock;
};

const podFolder = '/var/run/secrets/kubernetes.io/serviceaccount';

/**
 * Finds the cluster: the path given, else `KUBECONFIG`, else the Pod's service account, else `~/.kube/config`.
 * Reads all files once, so that what is missing is said now. Throws {@link KubeConfigError}.
 */
export async function loadKubeConfig(options: KubeConfigOptions): Promise<ClusterConfig> {
  const { kubeconfig, context, env, homeFolder, files } = options;
  const explicit = kubeconfig || env['KUBECONFIG'];
  if (explicit) return fromFiles(explicit.split(':').filter(Boolean), options);
  if (context === undefined && env['KUBERNETES_SERVICE_HOST']) return inCluster(options);
  const home = path.join(homeFolder, '.kube/config');
  if ((await readText(files, home)) !== undefined) return fromFiles([home], options);
  throw new KubeConfigError(
    `no cluster: there is no ${home} and this is no Pod with a service account; give --kubeconfig or KUBECONFIG`,
  );
}

async function inCluster({ env, files, clock }: KubeConfigOptions): Promise<ClusterConfig> {
  const host = env['KUBERNETES_SERVICE_HOST'] ?? '';
  const port = env['KUBERNETES_SERVICE_PORT'] ?? '443';
  const credentials = makeCredentialSource({
    clock,
    load: async () => {
      const token = (await mustRead(files, `${podFolder}/token`, 'the Pod')).trim();
      const ca = await mustRead(files, `${podFolder}/ca.crt`, 'the Pod');
      assertTlsMaterial({ ca }, `the Pod: ${podFolder}/ca.crt`, '');
      return { credentials: { token, ca }, lifetimeMs: fileLifetimeMs };
    },
  });
  await credentials.current();
  return {
    server: `https://${host.includes(':') ? `[${host}]` : host}:${port}`,
    namespace: (await readText(files, `${podFolder}/namespace`))?.trim(),
    identity: `the service account of this Pod (${podFolder})`,
    tls: { insecure: false, serverName: undefined },
    credentials,
  };
}

async function fromFiles(paths: readonly string[], options: KubeConfigOptions): Promise<ClusterConfig> {
  const selected = await readKubeConfig({ paths, context: options.context, files: options.files });
  const { file, value: cluster } = selected.cluster;
  refuseUnsupported(selected);
  const credentials = credentialsOf(selected, options);
  if (selected.user.value.exec == null) await credentials.current();
  return {
    server: serverOf(cluster.server, `${file}: cluster of context "${selected.name}"`),
    namespace: selected.namespace,
    identity: `user "${selected.userName}" of context "${selected.name}" in ${selected.user.file}`,
    tls: {
      insecure: cluster['insecure-skip-tls-verify'] ?? false,
      serverName: cluster['tls-server-name'] ?? undefined,
    },
    credentials,
  };
}

/** What would be ignored silently and change who we are or where we go. */
function refuseUnsupported({ name, cluster, user }: SelectedContext): void {
  const where = `${cluster.file}: cluster of context "${name}"`;
  if (cluster.value['proxy-url'])
    throw new KubeConfigError(`${where}: proxy-url is not supported; use a server that is reached without a proxy`);
  if (
    cluster.value['insecure-skip-tls-verify'] &&
    (cluster.value['certificate-authority'] || cluster.value['certificate-authority-data'])
  )
    throw new KubeConfigError(
      `${where}: insecure-skip-tls-verify and a certificate authority exclude each other; drop one`,
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
    throw new KubeConfigError(`${where}: server "${server}" is no http or https URL`);
  return `${url.origin}${url.pathname.replace(/\/+$/, '')}`;
}

/** The credentials of a kubeconfig's user: data before files, a token file before a token, as client-go does it. */
function credentialsOf(
  { name, userName, cluster, user }: SelectedContext,
  options: KubeConfigOptions,
): CredentialSource {
  const { files, exec, clock } = options;
  const { file, value } = user;
  const where = `${file}: user "${userName}"`;
  const pem = async (data: string | null | undefined, from: string, target: string | null | undefined, key: string) => {
    if (data) return Buffer.from(data, 'base64').toString();
    return target ? mustRead(files, resolveIn(from, target), key) : undefined;
  };
  const caWhere = `${cluster.file}: certificate-authority of context "${name}"`;
  const ca = (): Promise<string | undefined> => {
    const { 'certificate-authority': target, 'certificate-authority-data': data } = cluster.value;
    return pem(data, cluster.file, target, caWhere);
  };
  const ownPair = async (): Promise<Credentials> => {
    const cert = await pem(
      value['client-certificate-data'],
      file,
      value['client-certificate'],
      `${where}.client-certificate`,
    );
    const key = await pem(value['client-key-data'], file, value['client-key'], `${where}.client-key`);
    if ((cert === undefined) !== (key === undefined))
      throw new KubeConfigError(`${where}: client-certificate and client-key belong together; one of them is missing`);
    return { cert, key };
  };
  const fromPlugin = async (config: NonNullable<typeof value.exec>) => {
    const trusted = await ca();
    const command = config.command.includes('/') ? resolveIn(file, config.command) : config.command;
    const told = execCluster(cluster.value, trusted);
    const answer = await runExecPlugin({ config: { ...config, command }, cluster: told, where, exec, clock });
    const credentials = { ...answer.credentials, ca: trusted };
    assertTlsMaterial(credentials, caWhere, `${where}.exec`);
    return { ...answer, credentials };
  };
  const fromKeys = async () => {
    const token = value.tokenFile
      ? (await mustRead(files, resolveIn(file, value.tokenFile), `${where}.tokenFile`)).trim()
      : (value.token ?? undefined);
    const credentials = { token, ...(await ownPair()), ca: await ca() };
    assertTlsMaterial(credentials, caWhere, where);
    return { credentials, lifetimeMs: fileLifetimeMs };
  };
  return makeCredentialSource({ clock, load: () => (value.exec ? fromPlugin(value.exec) : fromKeys()) });
}

function execCluster(cluster: ClusterEntry, ca: string | undefined): Parameters<typeof runExecPlugin>[0]['cluster'] {
  return {
    server: cluster.server,
    ...(cluster['tls-server-name'] ? { 'tls-server-name': cluster['tls-server-name'] } : {}),
    ...(cluster['insecure-skip-tls-verify'] ? { 'insecure-skip-tls-verify': true } : {}),
    ...(ca === undefined ? {} : { 'certificate-authority-data': Buffer.from(ca).toString('base64') }),
  };
}

async function mustRead(files: Files, file: string, where: string): Promise<string> {
  const found = await readText(files, file);
  if (found === undefined) throw new KubeConfigError(`${where}: ${file}: no such file`);
  if (found.trim() === '') throw new KubeConfigError(`${where}: ${file} is empty`);
  return found;
}
