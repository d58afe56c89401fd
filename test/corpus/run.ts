import { setMaxListeners } from 'node:events';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { LabError } from '../../lab/errors.ts';
import { openLab } from '../../lab/lab.ts';
import { run } from '../../lab/machine/run.ts';
import { stderrProgress } from '../../lab/progress.ts';
import { startLab } from '../../lab/start.ts';
import { ExecError } from '../../src/ports/exec.ts';
import { readCases } from './cases.ts';
import { isPassed, type Judgement, judge } from './judge.ts';
import { formatHead, formatPage, formatRow, formatTotals, sumUp } from './report.ts';
import { startFurnished } from './site.ts';

const help = `node test/corpus/run.ts [NAME…]

Judges how furiwake serves the Services of test/corpus/cases, or those whose names contain one of NAME…, as root. The exit
status is 0 if each is fully served or names the one thing that it lacks.

  -o, --output FORMAT   json or markdown on standard output; the table is then on standard error
  --dataplane NAME      adds the annotation furiwake.dev/dataplane to each Service
  --lab NAME            a running lab, and the furiwake on its lb1 if there is one; by default a new lab
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
  process.stderr.write(`corpus: ${error.message}\n${error instanceof LabError ? (error.hint ?? '') : ''}\n`);
  process.exitCode = interrupt.signal.aborted ? 130 : 1;
}

async function main(args: readonly string[], signal: AbortSignal): Promise<number> {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      output: { type: 'string', short: 'o', default: 'table' },
      dataplane: { type: 'string' },
      lab: { type: 'string' },
      help: { type: 'boolean', short: 'h' },
    },
  });
  const { output, dataplane, lab: labName } = values;
  const cases = await readCases(positionals);
  const isUnknown = !['table', 'json', 'markdown'].includes(output) || cases.length === 0;
  if (values.help === true || isUnknown) {
    process.stdout.write(cases.length === 0 ? `no case is named so: ${positionals.join(', ')}\n\n${help}` : help);
    return isUnknown ? 2 : 0;
  }
  const table = output === 'table' ? process.stdout : process.stderr;
  const hasColour = table.isTTY && !process.env['NO_COLOR'];
  const paint = (code: number, text: string): string => (hasColour ? `\u001B[${code}m${text}\u001B[0m` : text);

  const root = path.join(import.meta.dirname, '..', '..');
  await run([process.execPath, 'tools/build.ts'], { signal, cwd: root });
  await using stack = new AsyncDisposableStack();
  const never = new AbortController().signal; // a case is deleted and furiwake cleaned up also after an interrupt
  const lab =
    labName === undefined
      ? stack.use(await startLab({ name: 'corpus', progress: stderrProgress(), signal }))
      : await openLab(labName, never);
  const site = stack.use(await startFurnished(lab, signal));
  const added = dataplane === undefined ? {} : { 'furiwake.dev/dataplane': dataplane };
  const judgements: Judgement[] = [];
  table.write(formatHead(paint));
  for (const one of cases) {
    const judgement = await judge(site, one, added);
    judgements.push(judgement);
    table.write(formatRow(judgement, paint));
  }
  table.write(`\n${formatTotals(sumUp(judgements))}\n`);
  if (output === 'json')
    process.stdout.write(`${JSON.stringify({ ...sumUp(judgements), judgements }, undefined, 1)}\n`);
  if (output === 'markdown') {
    const command = `make corpus${args.length > 0 ? ` ARGS='${args.join(' ')}'` : ''}`;
    process.stdout.write(formatPage(judgements, { command, date: new Date().toISOString().slice(0, 10) }));
  }
  return judgements.every(isPassed) ? 0 : 1;
}
