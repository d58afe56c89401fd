import * as z from 'zod';
import { cutAt } from '../core/text.ts';
import { parseJson } from '../core/parse-json.ts';
import type { Clock } from '../ports/clock.ts';
import { type Exec, ExecError } from '../ports/exec.ts';
import type { LoadedCredentials } from './credentials.ts';
import { KubeConfigError } from './errors.ts';

/** `users[].user.exec` of a kubeconfig (client.authentication.k8s.io). */
export type ExecConfig = {
  readonly apiVersion: 'client.authentication.k8s.io/v1' | 'client.authentication.k8s.io/v1beta1';
  readonly command: string;
  readonly args?: readonly string[] | null | undefined;
  readonly env?: readonly { readonly name: string; readonly value: string }[] | null | undefined;
  readonly installHint?: string | null | undefined;
  readonly provideClusterInfo?: boolean | null | undefined;
  readonly interactiveMode?: 'Never' | 'IfAvailable' | 'Always' | null | undefined;
};

export const execSchema: z.ZodType<ExecConfig> = z.object({
  apiVersion: z.enum(['client.authentication.k8s.io/v1', 'client.authentication.k8s.io/v1beta1']),
  command: z.string().min(1),
  args: z.array(z.string()).nullish(),
  env: z.array(z.object({ name: z.string(), value: z.string() })).nullish(),
  installHint: z.string().nullish(),
  provideClusterInfo: z.boolean().nullish(),
  interactiveMode: z.enum(['Never', 'IfAvailable', 'Always']).nullish(),
});

const answerSchema = z.object({
  kind: z.literal('ExecCredential'),
  apiVersion: z.string(),
  status: z.object({
    token: z.string().optional(),
    clientCertificateData: z.string().optional(),
    clientKeyData: z.string().optional(),
    expirationTimestamp: z.string().optional(),
  }),
});

/** Data about the cluster for a plugin (`spec.cluster` of ExecCredential). */
export type ExecCluster = {
  readonly server: string;
  readonly 'tls-server-name'?: string;
  readonly 'insecure-skip-tls-verify'?: boolean;
  readonly 'certificate-authority-data'?: string;
};

/** Credentials are renewed this long before they expire, so that no request is rejected for it. */
const marginMs = 10_000;
const timeoutMs = 60_000;
const mostQuoted = 300;

/**
 * Runs a credential plugin, without a terminal. `where` names it in errors (file and user). Its arguments appear in no
 * error: they may hold secrets. Throws {@link KubeConfigError} if it cannot run, fails, or does not print an
 * ExecCredential with credentials; the reason of `signal` if that aborts.
 */
export async function runExecPlugin({
  config,
  cluster,
  where,
  exec,
  clock,
  signal,
}: {
  readonly config: ExecConfig;
  readonly cluster: ExecCluster;
  readonly where: string;
  readonly exec: Exec;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}): Promise<LoadedCredentials> {
  if (config.interactiveMode === 'Always')
    throw new KubeConfigError(
      `${where}.exec: ${config.command} needs a terminal (interactiveMode: Always); use a plugin or a token that does not`,
    );
  const info = {
    kind: 'ExecCredential',
    apiVersion: config.apiVersion,
    spec: { interactive: false, ...(config.provideClusterInfo === true ? { cluster } : {}) },
  };
  const env = Object.fromEntries([
    ...(config.env ?? []).map(({ name, value }) => [name, value]),
    ['KUBERNETES_EXEC_INFO', JSON.stringify(info)],
  ]);
  const { stdout } = await exec
    .run(config.command, config.args ?? [], { env, timeoutMs, signal })
    .catch((error: unknown) => {
      if (!(error instanceof ExecError)) throw error;
      const hint = config.installHint ? ` (${quoted(config.installHint)})` : '';
      const why = quoted(error.stderr) || `ended with exit code ${error.exitCode ?? 'unknown'}`;
      throw new KubeConfigError(`${where}.exec: ${config.command}: ${why}${hint}`, { cause: error });
    });
  return readAnswer(stdout, config, where, clock);
}

function readAnswer(stdout: string, config: ExecConfig, where: string, clock: Clock): LoadedCredentials {
  const answer = answerSchema.safeParse(parseJson(stdout));
  const fail = (what: string): never => {
    throw new KubeConfigError(`${where}.exec: ${config.command} ${what}`);
  };
  if (!answer.success) return fail('did not print an ExecCredential with a status');
  const { apiVersion, status } = answer.data;
  if (apiVersion !== config.apiVersion)
    return fail(`printed an ExecCredential of ${apiVersion}, not of ${config.apiVersion}`);
  const { token, clientCertificateData: cert, clientKeyData: key, expirationTimestamp } = status;
  if ((cert === undefined) !== (key === undefined))
    return fail('printed a certificate without its key, or a key without its certificate');
  if (token === undefined && cert === undefined) return fail('printed neither a token nor a certificate');
  const endsAt = expirationTimestamp === undefined ? Number.POSITIVE_INFINITY : Date.parse(expirationTimestamp);
  if (Number.isNaN(endsAt)) return fail(`printed an invalid expirationTimestamp: ${expirationTimestamp}`);
  return { credentials: { token, cert, key }, lifetimeMs: endsAt - clock.now() - marginMs };
}

/** A part of the output of a program or of a file that fits into a message. */
function quoted(text: string): string {
  return cutAt(text.trim().replaceAll(/\s*\n\s*/g, ' '), mostQuoted);
}
