import { copyFile, readFile, rm } from 'node:fs/promises';
import path from 'node:path';
import type { Lab } from '../../lab/lab.ts';
import { readIfThere } from '../../lab/machine/files.ts';
import type { Host } from '../../lab/network/host.ts';
import { type Outcome, focusOn, readReport, shortName } from './ginkgo.ts';

/** Kubernetes' own end-to-end tests, on a client behind the router. */
export type Suite = {
  /** The names of all cases that concern load balancers. */
  cases(): Promise<readonly string[]>;
  /** Runs one case to its end. Its log is kept in the folder. */
  run(name: string): Promise<Outcome>;
};

export type SuiteOptions = {
  readonly binary: string;
  /** Gets a log for each case. */
  readonly folder: string;
  /** Ends a case; Ginkgo then cleans up, and the case has failed. */
  readonly timeoutMinutes: number;
  readonly signal: AbortSignal;
};

const loadBalancerCases = String.raw`\[Feature:LoadBalancer\]`;

/** For Ginkgo's own clean-up after its deadline. */
const graceMinutes = 5;

export function makeSuite(lab: Lab, { binary, folder, timeoutMinutes, signal }: SuiteOptions): Suite {
  const client: Host = lab.host('client');
  const report = path.join(lab.folder, 'ginkgo.json');
  const command = (...args: readonly string[]): readonly string[] => [
    binary,
    `--kubeconfig=${lab.kubeconfig()}`,
    '--provider=skeleton', // no provider of machines: no case on load balancers asks for one
    '--ginkgo.no-color',
    `--ginkgo.json-report=${report}`,
    ...args,
  ];

  return {
    cases: async () => {
      await client.exec(command('--ginkgo.dry-run', `--ginkgo.focus=${loadBalancerCases}`), { signal });
      const outcomes = readReport(await readFile(report, 'utf8'));
      // In a dry run the chosen cases have passed, all others were skipped.
      return outcomes
        .filter(({ verdict }) => verdict === 'passed')
        .map(({ name }) => name)
        .sort();
    },
    run: async (name) => {
      await rm(report, { force: true });
      const slug = shortName(name)
        .toLowerCase()
        .replaceAll(/[^a-z0-9]+/g, '-');
      const started = performance.now();
      const failed = (why: string): Outcome => {
        const seconds = Math.round((performance.now() - started) / 1000);
        return { name, verdict: 'failed', seconds, why };
      };
      const timeout = AbortSignal.timeout((timeoutMinutes + graceMinutes) * 60_000);
      const args = [`--ginkgo.focus=${focusOn(name)}`, `--ginkgo.timeout=${timeoutMinutes}m`, '--ginkgo.v'];
      const part = await client.spawn(`e2e-${slug}`, command(...args));
      try {
        await part.ended(AbortSignal.any([signal, timeout]));
      } catch (error) {
        if (!timeout.aborted) throw error;
        return failed(`no end ${graceMinutes} minutes after the deadline`);
      } finally {
        part.kill('SIGKILL'); // no effect on one that has ended
        await copyFile(part.logPath, path.join(folder, `${slug}.log`));
      }
      const text = await readIfThere(report);
      if (text === undefined) return failed('the program ended without a report: see its log');
      return readReport(text).find((each) => each.name === name) ?? failed('the report does not contain it');
    },
  };
}
