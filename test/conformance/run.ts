import { createHash } from 'node:crypto';
import { setMaxListeners } from 'node:events';
import { copyFile, mkdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { findBinaries } from '../../lab/binaries/binaries.ts';
import { kubernetesTests } from '../../lab/binaries/recipes.ts';
import { LabError } from '../../lab/errors.ts';
import { run } from '../../lab/machine/run.ts';
import { stderrProgress } from '../../lab/progress.ts';
import { startLab } from '../../lab/start.ts';
import { ExecError } from '../../src/ports/exec.ts';
import { shortName } from './ginkgo.ts';
import { formatHead, formatRow, formatTotals } from './report.ts';
import { type Result, makeResults } from './results.ts';
import { startFuriwake } from './site.ts';
import { makeSuite } from './suite.ts';

const help = `node test/conformance/run.ts [TEXT…]

Runs Kubernetes' own end-to-end cases on load balancers ([Feature:LoadBalancer]) in a lab, or those whose names contain one of
TEXT…, as root. Cases that passed in an earlier run are not repeated, unless the environment has FRESH=1. The exit status is 0
if all have passed. Results and logs: .work/conformance.

  --timeout MINUTES   for one case; default 40, because a case waits up to 15 minutes for an address
  --bundle FILE       an existing bundle; by default dist/furiwake.js, after a new build
`;

const interrupt = new AbortController();
setMaxListeners(0, interrupt.signal); // each command on a host listens
for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
  process.on(name, () => interrupt.abort(new LabError('INTERRUPTED', 'interrupted')));

try {
  process.exitCode = await main(process.argv.slice(2), interrupt.signal);
} catch (caught) {
  const error: unknown = interrupt.signal.aborted ? interrupt.signal.reason : caught;
  if (!(error instanceof LabError || error instanceof ExecError)) throw error;
  process.stderr.write(`conformance: ${error.message}\n${error instanceof LabError ? (error.hint ?? '') : ''}\n`);
  process.exitCode = interrupt.signal.aborted ? 130 : 1;
}

async function main(args: readonly string[], signal: AbortSignal): Promise<number> {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      timeout: { type: 'string', default: '40' },
      bundle: { type: 'string' },
      help: { type: 'boolean', short: 'h' },
    },
  });
  const timeoutMinutes = Number(values.timeout);
  const isWrong = !Number.isInteger(timeoutMinutes) || timeoutMinutes < 1;
  if (values.help === true || isWrong) {
    process.stdout.write(help);
    return isWrong ? 2 : 0;
  }
  const root = path.join(import.meta.dirname, '..', '..');
  const folder = path.join(root, '.work', 'conformance');
  const results = makeResults(folder);
  if (process.env['FRESH'] && process.env['FRESH'] !== '0') await results.clear();
  await mkdir(folder, { recursive: true });
  if (values.bundle === undefined) await run([process.execPath, 'tools/build.ts'], { signal, cwd: root });
  const bundle = path.resolve(values.bundle ?? path.join(root, 'dist', 'furiwake.js'));
  const furiwake = createHash('sha256')
    .update(await readFile(bundle))
    .digest('hex')
    .slice(0, 12);

  const progress = stderrProgress();
  const binary = (await findBinaries(progress, signal, [kubernetesTests])).get('e2e.test') ?? '';
  // A case asks the health-check port of a Service with one family on all addresses of a node; kube-proxy serves it on that family.
  await using lab = await startLab({ name: 'conformance', hasDualStackNodes: false, progress, signal });
  await startFuriwake(lab, bundle, signal);
  const suite = makeSuite(lab, { binary, folder, timeoutMinutes, signal });
  const all = await suite.cases();
  const chosen = all.filter((name) => positionals.length === 0 || positionals.some((text) => name.includes(text)));
  if (chosen.length === 0) {
    process.stderr.write(
      `no case has such a name; the cases:\n${all.map((name) => `  ${shortName(name)}\n`).join('')}`,
    );
    return 2;
  }

  const { stdout } = process;
  const hasColour = stdout.isTTY && !process.env['NO_COLOR'];
  const paint = (code: number, text: string): string => (hasColour ? `\u001B[${code}m${text}\u001B[0m` : text);
  stdout.write(formatHead(paint));
  const earlier = await results.read();
  const shown: Result[] = [];
  try {
    for (const name of chosen) {
      const before = earlier.get(name);
      const isEarlier = before?.verdict === 'passed';
      const result = isEarlier ? before : { ...(await suite.run(name)), furiwake };
      if (!isEarlier) await results.put(result);
      shown.push(result);
      stdout.write(formatRow(result, paint, isEarlier));
    }
  } finally {
    await copyFile(await lab.logPath('lb1-furiwake'), path.join(folder, 'furiwake.log'));
  }
  stdout.write(`\n${formatTotals(shown, chosen.length)}`);
  return shown.every(({ verdict }) => verdict === 'passed') ? 0 : 1;
}
