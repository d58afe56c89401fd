import { parseArgs } from 'node:util';
import path from 'node:path';
import { LabError } from '../lab/errors.ts';
import { run } from '../lab/machine/run.ts';
import { stderrProgress } from '../lab/progress.ts';
import { type StartedLab, startLab } from '../lab/start.ts';
import type { Bench } from './bench.ts';
import { benches } from './benches.ts';
import { type Cluster, prepareCluster } from './cluster.ts';
import { formatFigures, jsonLine } from './report.ts';

const help = `node bench/run.ts [--json] [--bundle FILE] [NAME…]

Runs all benchmarks, or those named, as root. A missed target is shown, but is not an error.

${benches.map(({ name, title }) => `  ${name.padEnd(15)}${title}`).join('\n')}

  --json          a line of JSON for each benchmark
  --bundle FILE   an existing bundle; by default dist/furiwake.js, after a new build
`;

const root = path.join(import.meta.dirname, '..');
const interrupt = new AbortController();
for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
  process.on(name, () => interrupt.abort(new LabError('INTERRUPTED', 'interrupted')));

try {
  process.exitCode = await main(process.argv.slice(2), interrupt.signal);
} catch (caught) {
  const error: unknown = interrupt.signal.aborted ? interrupt.signal.reason : caught;
  if (!(error instanceof LabError)) throw error;
  process.stderr.write(`bench: ${error.message}\n${error.hint ?? ''}\n`);
  process.exitCode = interrupt.signal.aborted ? 130 : 1;
}

async function main(args: readonly string[], signal: AbortSignal): Promise<number> {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: { json: { type: 'boolean' }, bundle: { type: 'string' }, help: { type: 'boolean', short: 'h' } },
  });
  const unknown = positionals.filter((name) => !benches.some((bench) => bench.name === name));
  if (values.help === true || unknown.length > 0) {
    process.stdout.write(unknown.length > 0 ? `no such benchmark: ${unknown.join(', ')}\n\n${help}` : help);
    return unknown.length > 0 ? 2 : 0;
  }
  const chosen = benches.filter(({ name }) => positionals.length === 0 || positionals.includes(name));
  await measure(chosen, {
    bundle: path.resolve(values.bundle ?? (await build(signal))),
    isJson: values.json === true,
    signal,
  });
  return 0;
}

async function build(signal: AbortSignal): Promise<string> {
  await run([process.execPath, 'tools/build.ts'], { signal, cwd: root });
  return path.join(root, 'dist', 'furiwake.js');
}

async function measure(
  chosen: readonly Bench[],
  { bundle, isJson, signal }: { readonly bundle: string; readonly isJson: boolean; readonly signal: AbortSignal },
): Promise<void> {
  const progress = stderrProgress();
  await using stack = new AsyncDisposableStack();
  let cluster: Promise<Cluster> | undefined;
  const start = async (): Promise<Cluster> => {
    const lab: StartedLab = stack.use(await startLab({ name: 'bench', progress, signal }));
    return prepareCluster(lab, bundle, signal);
  };
  for (const bench of chosen) {
    const figures = await bench.run({ bundle, progress, signal, cluster: () => (cluster ??= start()) });
    const hasColour = process.stdout.isTTY && !process.env['NO_COLOR'];
    process.stdout.write(isJson ? jsonLine(bench, figures) : formatFigures(bench, figures, hasColour));
  }
}
