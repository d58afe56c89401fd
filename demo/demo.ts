import { type StartedLab, startLab } from '../lab/start.ts';
import { LabError } from '../lab/errors.ts';
import { ExecError } from '../src/ports/exec.ts';
import { showAddress, showNodeLoss, showPending, showRemoval, showTimings, showTraffic } from './acts.ts';
import { makeStage } from './stage.ts';
import { DemoError, type Story, makeStory } from './story.ts';
import type { Timings } from './timings.ts';

const isKept = Boolean(process.env['KEEP']) && process.env['KEEP'] !== '0';
const labName = process.env['LAB'] ?? 'demo';

const interrupt = new AbortController();
for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
  process.on(name, () => interrupt.abort(new LabError('INTERRUPTED', 'interrupted')));

const story = makeStory({
  write: (text) => process.stdout.write(text),
  hasColour: process.stdout.isTTY && !process.env['NO_COLOR'],
});

process.exitCode = await perform(story, interrupt.signal);

/** Runs the demo; the exit code is 0 only if every check passed. */
async function perform(told: Story, signal: AbortSignal): Promise<number> {
  try {
    told.step('A Kubernetes on this machine: two nodes, a load-balancer host, a client behind a router');
    await using lab = await startLab({ name: labName, signal });
    try {
      await play(lab, told, signal);
    } catch (error) {
      if (!signal.aborted) {
        await tellLog(lab, told);
        if (isKept) keep(lab, told);
      }
      throw error;
    }
    signal.throwIfAborted();
    if (isKept) keep(lab, told);
    return 0;
  } catch (caught) {
    const error: unknown = signal.aborted ? signal.reason : caught;
    if (!(error instanceof LabError || error instanceof DemoError || error instanceof ExecError)) throw error;
    const hint = error instanceof LabError ? error.hint : undefined;
    process.stderr.write(`\ndemo: ${[error.message, hint].filter(Boolean).join('\n')}\n`);
    return signal.aborted ? 130 : 1;
  }
}

async function play(lab: StartedLab, told: Story, signal: AbortSignal): Promise<void> {
  const stage = makeStage(lab, told, signal);
  told.step('A Pod and a Service of type LoadBalancer');
  await showPending(stage, told);
  told.step('furiwake on the load-balancer host');
  await showAddress(stage, told);
  told.step('The page, from the client');
  await showTraffic(stage, told);
  told.step('A node loses its network');
  await showNodeLoss(stage, told);
  told.step('How long it takes');
  const timings = await showTimings(stage, told);
  if (!isKept) {
    told.step('The Service is deleted');
    await showRemoval(stage, told);
  }
  told.step('Summary');
  tellTimings(timings, told);
}

function tellTimings({ createToAddressMs, createToFirstByteMs, deleteToGoneMs }: Timings, told: Story): void {
  const ms = (value: number): string => `${Math.round(value)} ms`;
  told.table([
    ['create → address', ms(createToAddressMs), ''],
    ['create → first byte', ms(createToFirstByteMs), 'kube-proxy opens the NodePort within 2 s'],
    ['delete → gone', ms(deleteToGoneMs), ''],
  ]);
}

function keep(lab: StartedLab, told: Story): void {
  lab.keep();
  const at = `--name ${labName}`;
  const address = lab.host('lb1').ip4;
  told.step('Everything is left up');
  told.table(
    [
      ['the cluster', `npm run lab -- kubectl ${at} get services --all-namespaces`],
      ['the page', `npm run lab -- exec ${at} client curl http://${address}/`],
      ['furiwake', `npm run lab -- exec ${at} lb1 /opt/furiwake/furiwake.js status`],
      ['its log', `npm run lab -- logs ${at} lb1-furiwake --follow`],
      ['a shell', `npm run lab -- exec ${at} lb1 bash`],
      ['the end', `npm run lab -- down ${at}`],
    ].map(([what = '', command = '']) => [what, '', command]),
  );
}

async function tellLog(lab: StartedLab, told: Story): Promise<void> {
  const log = await lab.logs('lb1-furiwake').catch(() => '');
  if (log !== '') told.shell('lb1', 'tail furiwake.log', log.trimEnd().split('\n').slice(-20).join('\n'));
}
