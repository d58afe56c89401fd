import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { killQuietly } from '../lab/machine/run.ts';

/*
 * `make test`: every check and every test. The output of a step is shown only if it fails (or as it runs, if it takes
 * long); the last line is the sum, and the exit code agrees with it.
 *
 *   types, lint, format, dead code ─► unit, property and simulator tests ─► network namespaces ─► end to end (the lab)
 *
 * Without root the last two are skipped and reported; with CI=true a skipped test counts as failed.
 */
type Sum = {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
  /** Each failed test with the first line of its error; repeated at the end, where a log that was cut still has them. */
  readonly failures?: readonly string[];
};
type Step = { readonly title: string; readonly run: () => Promise<Sum> };

const isRoot = process.getuid?.() === 0;
const isCi = process.env['CI'] === 'true';
const startedAt = performance.now();
/** After an interrupt, for removing everything that was started. */
const patienceMs = 60_000;
const children = new Set<ChildProcess>();
let isInterrupted = false;
let isGivenUp = false;

const steps: readonly Step[] = [
  check('types', 'tsc', ['-p', '.']),
  check('lint', 'oxlint', ['--type-aware', '--deny-warnings', '.']),
  check('format', 'oxfmt', ['--check', '.']),
  check('dead code and dependencies', 'knip', []),
  check('code that only tests use', 'knip', ['--production']),
  suite('unit, property and simulator tests', 'unit', true),
  suite('dataplane in network namespaces', 'netns', isRoot),
  suite('end to end, on a real Kubernetes', 'e2e', isRoot),
];

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => interrupt(signal));

const total = { passed: 0, failed: 0, skipped: 0 };
const times: string[] = [];
const failures: string[] = [];
for (const step of steps) {
  const stepStartedAt = performance.now();
  say(`▶ ${step.title}`);
  const sum = await step.run();
  if (isInterrupted) break;
  total.passed += sum.passed;
  total.failed += sum.failed;
  total.skipped += sum.skipped;
  if (sum.failed > 0) failures.push(...(sum.failures?.length ? sum.failures : [step.title]));
  times.push(`${step.title} ${seconds(stepStartedAt)}`);
  say(`${sum.failed > 0 ? '✗' : '✓'} ${step.title}: ${show(sum)} (${seconds(stepStartedAt)})`);
}
if (isInterrupted) {
  if (!isGivenUp) say('Interrupted; everything that was started has ended.');
  process.exit(130);
}
say(`The whole took ${seconds(startedAt)}: ${times.join('; ')}.`);
for (const failure of failures) say(`✗ ${failure}`);
process.stdout.write(`${show(total)}\n`);
process.exit(total.failed > 0 ? 1 : 0);

/** A program that succeeds or fails: one test. */
function check(title: string, program: string, args: readonly string[]): Step {
  return {
    title,
    run: async () => {
      const { code, output } = await start(program, args, false);
      if (code === 0) return { passed: 1, failed: 0, skipped: 0 };
      process.stdout.write(output);
      return { passed: 0, failed: 1, skipped: 0 };
    },
  };
}

/** A project of vitest.config.ts; its tests are counted one by one. */
function suite(title: string, project: string, isPossible: boolean): Step {
  return {
    title,
    run: async () => {
      if (!isPossible) return skipSuite(title, project);
      // If this process is killed, the next run of `netns` removes it.
      const folder = await mkdtemp(path.join(tmpdir(), `fwt${process.pid}-report-`));
      const report = path.join(folder, 'report.json');
      try {
        const args = [
          'run',
          '--project',
          project,
          '--reporter=default',
          '--reporter=json',
          `--outputFile.json=${report}`,
        ];
        const { code } = await start('vitest', args, true);
        const sum = await sumOf(report);
        if (sum === undefined) return { passed: 0, failed: 1, skipped: 0 };
        const failed = code !== 0 && sum.failed === 0 ? 1 : sum.failed; // an error outside of any test
        return isCi ? { ...sum, failed: failed + sum.skipped, skipped: 0 } : { ...sum, failed };
      } finally {
        await rm(folder, { recursive: true, force: true });
      }
    },
  };
}

async function skipSuite(title: string, project: string): Promise<Sum> {
  const { output } = await start('vitest', ['list', '--project', project, '--json'], false);
  const from = output.indexOf('[');
  const names = (from < 0 ? [] : JSON.parse(output.slice(from, output.lastIndexOf(']') + 1))) as readonly unknown[];
  say(
    `  skipped: ${title} needs root (network namespaces, containers)${isCi ? '; with CI=true that is a failure' : ''}`,
  );
  const skipped = Math.max(1, names.length);
  return isCi ? { passed: 0, failed: skipped, skipped: 0 } : { passed: 0, failed: 0, skipped };
}

type Report = {
  readonly numPassedTests: number;
  readonly numFailedTests: number;
  readonly numPendingTests: number;
  readonly numTodoTests: number;
  readonly testResults: readonly {
    readonly name: string;
    readonly status: string;
    readonly message: string;
    readonly assertionResults: readonly {
      readonly fullName: string;
      readonly status: string;
      readonly failureMessages: readonly string[] | null;
    }[];
  }[];
};

async function sumOf(report: string): Promise<Sum | undefined> {
  const text = await readFile(report, 'utf8').catch(() => undefined);
  if (text === undefined) return undefined;
  const parsed = JSON.parse(text) as Report;
  const { numPassedTests, numFailedTests, numPendingTests, numTodoTests } = parsed;
  const skipped = numPendingTests + numTodoTests;
  return { passed: numPassedTests, failed: numFailedTests, skipped, failures: failuresOf(parsed) };
}

function failuresOf({ testResults }: Report): readonly string[] {
  return testResults.flatMap(({ name, status, message, assertionResults }) => {
    const file = path.relative('.', name);
    const failed = assertionResults.filter((test) => test.status === 'failed');
    if (failed.length === 0) return status === 'failed' ? [`${file}: ${firstLine(message)}`] : [];
    return failed.map((test) => `${file}: ${test.fullName}: ${firstLine(test.failureMessages?.[0] ?? '')}`);
  });
}

function firstLine(text: string): string {
  return text.split('\n', 1)[0] ?? '';
}

/** Runs a program of node_modules in a new process group, so that an interrupt reaches all of its children. */
function start(
  program: string,
  args: readonly string[],
  isShown: boolean,
): Promise<{ readonly code: number; readonly output: string }> {
  return new Promise((resolve) => {
    const child = spawn(path.join('node_modules/.bin', program), args, {
      detached: true,
      // When this process ends in any way, its end of the standard input closes: the tests treat that as a Ctrl-C.
      stdio: ['pipe', isShown ? 'inherit' : 'pipe', isShown ? 'inherit' : 'pipe'],
      env: { ...process.env, ENDS_WITH_STDIN: '1' },
    });
    children.add(child);
    let output = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream?.setEncoding('utf8').on('data', (text: string) => {
        output += text;
      });
    }
    child.on('error', (error) => {
      output += `${error.message}\n`;
      resolve({ code: 1, output });
    });
    child.on('close', (code) => {
      children.delete(child);
      resolve({ code: code ?? 1, output });
    });
  });
}

/** Ctrl-C: the tests remove everything that they started; those that do not end in time are killed. */
function interrupt(signal: NodeJS.Signals): void {
  if (isInterrupted) return giveUp();
  isInterrupted = true;
  say(`${signal}: ending; removing everything that was started (a second one ends at once)`);
  endAll('SIGINT');
  setTimeout(giveUp, patienceMs).unref();
}

function giveUp(): void {
  isGivenUp = true;
  say('Ended at once. To remove the remains: npm run lab -- down --all');
  endAll('SIGKILL');
}

function endAll(signal: NodeJS.Signals): void {
  for (const { pid = 0 } of children) killQuietly(-pid, signal);
}

function show({ passed, failed, skipped }: Sum): string {
  return `${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`;
}

function seconds(since: number): string {
  return `${((performance.now() - since) / 1000).toFixed(1)} s`;
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}
