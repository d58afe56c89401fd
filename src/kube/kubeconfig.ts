import path from 'node:path';
import { parseDocument } from 'yaml';
import * as z from 'zod';
import { systemWords } from '../async/error-words.ts';
import { FileError, type Files } from '../ports/files.ts';
import { KubeConfigError } from './errors.ts';
import { type ExecConfig, execSchema } from './exec-plugin.ts';

type Text = string | null | undefined;

export type ClusterEntry = {
  readonly server: string;
  readonly 'certificate-authority'?: Text;
  readonly 'certificate-authority-data'?: Text;
  readonly 'insecure-skip-tls-verify'?: boolean | null | undefined;
  readonly 'tls-server-name'?: Text;
  readonly 'proxy-url'?: Text;
};

export type UserEntry = {
  readonly token?: Text;
  readonly tokenFile?: Text;
  readonly 'client-certificate'?: Text;
  readonly 'client-certificate-data'?: Text;
  readonly 'client-key'?: Text;
  readonly 'client-key-data'?: Text;
  readonly exec?: ExecConfig | null | undefined;
  /** Keys of this entry that other clients support and furiwake does not. */
  readonly unsupported: readonly string[];
};

const text = z.string().nullish();
const clusterSchema: z.ZodType<ClusterEntry> = z.object({
  server: z.string(),
  'certificate-authority': text,
  'certificate-authority-data': text,
  'insecure-skip-tls-verify': z.boolean().nullish(),
  'tls-server-name': text,
  'proxy-url': text,
});

const refusedKeys = ['username', 'password', 'auth-provider', 'as', 'as-uid', 'as-groups', 'as-user-extra'];
const userSchema: z.ZodType<UserEntry> = z
  .looseObject({
    token: text,
    tokenFile: text,
    'client-certificate': text,
    'client-certificate-data': text,
    'client-key': text,
    'client-key-data': text,
    exec: execSchema.nullish(),
  })
  .transform((user) => ({ ...user, unsupported: refusedKeys.filter((key) => user[key] != null) }));

const configSchema = z.object({
  'current-context': text,
  clusters: z.array(z.object({ name: z.string(), cluster: clusterSchema })).nullish(),
  users: z.array(z.object({ name: z.string(), user: userSchema.nullish() })).nullish(),
  contexts: z
    .array(z.object({ name: z.string(), context: z.object({ cluster: z.string(), user: text, namespace: text }) }))
    .nullish(),
});

/** An entry and its file: relative paths in it are relative to the folder of that file. */
type Located<T> = { readonly file: string; readonly value: T };

/** One context, with its cluster and user. */
export type SelectedContext = {
  readonly name: string;
  readonly namespace: string | undefined;
  readonly userName: string;
  readonly cluster: Located<ClusterEntry>;
  readonly user: Located<UserEntry>;
};

/**
 * Reads kubeconfig files and selects a context. Several files are merged as kubectl merges them: the first that defines
 * an entry wins, missing files are ignored, and it is an error only where all are missing. Throws {@link KubeConfigError}.
 */
export async function readKubeConfig({
  paths,
  context,
  files,
}: {
  readonly paths: readonly string[];
  readonly context: string | undefined;
  readonly files: Files;
}): Promise<SelectedContext> {
  const read = await Promise.all(paths.map(async (file) => ({ file, source: await readText(files, file) })));
  const found = read.flatMap(({ file, source }) => (source === undefined ? [] : [parse(file, source)]));
  if (found.length === 0)
    throw new KubeConfigError(`${paths.join(', ')}: no such file; give the path of the kubeconfig`);
  return select(found, context);
}

type Parsed = { readonly file: string; readonly config: z.infer<typeof configSchema> };

function parse(file: string, source: string): Parsed {
  const document = parseDocument(source, { logLevel: 'error' }); // warnings would be printed
  const [broken] = document.errors;
  if (broken?.code === 'MULTIPLE_DOCS')
    throw new KubeConfigError(`${file} is not a kubeconfig (expected one YAML document)`, { cause: broken });
  if (broken !== undefined) {
    const line = broken.linePos?.[0].line;
    const where = line === undefined ? '' : ` (line ${line})`;
    throw new KubeConfigError(`${file} is not valid YAML${where}; correct it`, { cause: broken });
  }
  const content = contentOf(document, file) ?? {};
  if (typeof content !== 'object' || Array.isArray(content))
    throw new KubeConfigError(`${file} is not a kubeconfig (expected a YAML mapping)`);
  const config = configSchema.safeParse(content);
  if (config.success) return { file, config: config.data };
  const [issue] = config.error.issues;
  throw new KubeConfigError(`${file}: ${formatPath(issue?.path ?? [])}: expected ${expectationOf(issue)}`, {
    cause: config.error,
  });
}

function contentOf(document: ReturnType<typeof parseDocument>, file: string): unknown {
  try {
    return document.toJS();
  } catch (error) {
    const words = `${file} is not valid YAML: an alias (*name) cannot be resolved; put a value that begins with * in quotes`;
    throw new KubeConfigError(words, { cause: error });
  }
}

/** The expected value, in terms of YAML. */
function expectationOf(issue: z.core.$ZodIssue | undefined): string {
  if (issue?.code === 'invalid_value') return `one of ${issue.values.map(String).join(', ')}`;
  if (issue?.code !== 'invalid_type') return 'another value';
  return yamlTypes[issue.expected] ?? issue.expected;
}

const yamlTypes: Readonly<Record<string, string>> = {
  array: 'a list',
  boolean: 'true or false',
  object: 'a mapping',
  string: 'a text',
};

function select(parsed: readonly Parsed[], wanted: string | undefined): SelectedContext {
  const where = parsed.map(({ file }) => file).join(', ');
  const find = <T extends { readonly name: string }>(
    kind: string,
    name: string,
    listIn: (config: Parsed['config']) => readonly T[] | null | undefined,
  ): Located<T> => {
    const entries = parsed.flatMap(({ file, config }) => (listIn(config) ?? []).map((value) => ({ file, value })));
    const entry = entries.find(({ value }) => value.name === name);
    if (entry !== undefined) return entry;
    const names = entries.map(({ value }) => value.name).join(', ') || 'none';
    throw new KubeConfigError(`${where}: no ${kind} named "${name}" (defined: ${names})`);
  };

  const name = wanted ?? parsed.map(({ config }) => config['current-context']).find((current) => current);
  if (!name) throw new KubeConfigError(`${where}: current-context is not set; select a context with --context`);
  const chosen = find('context', name, ({ contexts }) => contexts).value.context;
  const cluster = find('cluster', chosen.cluster, ({ clusters }) => clusters);
  const userName = chosen.user ?? '';
  const user = userName === '' ? undefined : find('user', userName, ({ users }) => users);
  return {
    name,
    namespace: chosen.namespace ?? undefined,
    userName,
    cluster: { file: cluster.file, value: cluster.value.cluster },
    user: { file: user?.file ?? cluster.file, value: user?.value.user ?? { unsupported: [] } },
  };
}

/** The text of a file, or `undefined` if it does not exist. Throws {@link KubeConfigError} if it cannot be read. */
export async function readText(files: Files, file: string): Promise<string | undefined> {
  try {
    return await files.read(file);
  } catch (error) {
    const isFolder = error instanceof FileError && error.code === 'EISDIR';
    const words = isFolder ? 'it is a directory' : systemWords(error);
    throw new KubeConfigError(`${file} cannot be read: ${words}`, { cause: error });
  }
}

/** A path in a kubeconfig is relative to the folder of that file. */
export function resolveIn(file: string, target: string): string {
  return path.resolve(path.dirname(file), target);
}

function formatPath(parts: readonly PropertyKey[]): string {
  return parts
    .map((part) => (typeof part === 'number' ? `[${part}]` : `.${String(part)}`))
    .join('')
    .replace(/^\./, '');
}
