import type { Clock } from '../ports/clock.ts';
import type { Exec } from '../ports/exec.ts';
import type { Files } from '../ports/files.ts';
import { assertTlsMaterial, type Credentials, type LoadedCredentials } from './credentials.ts';
import { KubeConfigError } from './errors.ts';
import { type ExecConfig, runExecPlugin } from './exec-plugin.ts';
import { type ClusterEntry, readText, resolveIn, type SelectedContext } from './kubeconfig.ts';

/** Time until files are read again, while the server accepts their contents. */
export const fileLifetimeMs = 60_000;

type CredentialPorts = { readonly files: Files; readonly exec: Exec; readonly clock: Clock };

/**
 * Obtains the credentials of a kubeconfig's user: data before files, a token file before a token, as in client-go.
 * Throws {@link KubeConfigError}.
 */
export async function loadUserCredentials(
  { name, userName, cluster, user }: SelectedContext,
  { files, exec, clock }: CredentialPorts,
  signal: AbortSignal,
): Promise<LoadedCredentials> {
  const { file, value } = user;
  const where = `${file}: user "${userName}"`;
  const caWhere = `${cluster.file}: certificate-authority of context "${name}"`;
  const pem = async (data: string | null | undefined, from: string, target: string | null | undefined, key: string) => {
    if (data) return Buffer.from(data, 'base64').toString();
    return target ? readRequired(files, resolveIn(from, target), key) : undefined;
  };
  const { 'certificate-authority': caFile, 'certificate-authority-data': caData } = cluster.value;
  const ca = await pem(caData, cluster.file, caFile, caWhere);
  if (value.exec) {
    const config = { ...value.exec, command: commandOf(value.exec, file) };
    const told = execCluster(cluster.value, ca);
    const { credentials: own, lifetimeMs } = await runExecPlugin({ config, cluster: told, where, exec, clock, signal });
    const credentials = { ...own, ca };
    assertTlsMaterial(credentials, caWhere, `${where}.exec`);
    return { credentials, lifetimeMs };
  }
  const token = value.tokenFile
    ? (await readRequired(files, resolveIn(file, value.tokenFile), `${where}.tokenFile`)).trim()
    : (value.token ?? undefined);
  const { 'client-certificate': certFile, 'client-certificate-data': certData } = value;
  const { 'client-key': keyFile, 'client-key-data': keyData } = value;
  const cert = await pem(certData, file, certFile, `${where}.client-certificate`);
  const key = await pem(keyData, file, keyFile, `${where}.client-key`);
  if ((cert === undefined) !== (key === undefined))
    throw new KubeConfigError(`${where}: client-certificate and client-key belong together; one of them is missing`);
  const credentials: Credentials = { token, cert, key, ca };
  assertTlsMaterial(credentials, caWhere, where);
  return { credentials, lifetimeMs: fileLifetimeMs };
}

/** A file that must exist and not be empty. Throws {@link KubeConfigError}; `where` names its source. */
export async function readRequired(files: Files, file: string, where: string): Promise<string> {
  const found = await readText(files, file);
  if (found === undefined) throw new KubeConfigError(`${where}: ${file}: no such file`);
  if (found.trim() === '') throw new KubeConfigError(`${where}: ${file} is empty`);
  return found;
}

/** A command with a slash is relative to the kubeconfig, any other is looked up in PATH. */
function commandOf({ command }: ExecConfig, file: string): string {
  return command.includes('/') ? resolveIn(file, command) : command;
}

function execCluster(cluster: ClusterEntry, ca: string | undefined): Parameters<typeof runExecPlugin>[0]['cluster'] {
  return {
    server: cluster.server,
    ...(cluster['tls-server-name'] ? { 'tls-server-name': cluster['tls-server-name'] } : {}),
    ...(cluster['insecure-skip-tls-verify'] ? { 'insecure-skip-tls-verify': true } : {}),
    ...(ca === undefined ? {} : { 'certificate-authority-data': Buffer.from(ca).toString('base64') }),
  };
}
