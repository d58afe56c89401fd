import { messageOf, wordsOf } from '../../async/error-words.ts';
import { isKubeError, KubeConfigError } from '../../kube/errors.ts';
import { type Finding, type Group, type GroupedFinding, omitted, problem } from './finding.ts';

type Look = () => Promise<Finding | readonly Finding[]>;

/**
 * Runs one check of a group and shows its findings, or that it is not made, and what it needs: `needs root`. An error in it is a problem
 * of its own and stops no other check; only the reason of the signal is thrown. Resolves with false if a finding is a problem.
 */
export type Inspect = (group: Group, what: string, look: Look | string) => Promise<boolean>;

/** Where the results appear. */
export type CheckView = {
  /** A check begins; disposed of when it ends. */
  begin(group: Group, what: string): Disposable;
  show(finding: GroupedFinding): void;
};

export function makeInspect(view: CheckView, signal: AbortSignal): Inspect {
  return async (group, what, look) => {
    const findings = await findingsOf(view.begin(group, what), look, signal);
    for (const finding of findings) view.show({ group, what, ...finding });
    return findings.every(({ mark }) => mark !== 'problem');
  };
}

async function findingsOf(progress: Disposable, look: Look | string, signal: AbortSignal): Promise<readonly Finding[]> {
  using _ = progress;
  if (typeof look === 'string') return [omitted(look)];
  try {
    return [await look()].flat();
  } catch (error) {
    signal.throwIfAborted();
    return [problemOf(error)];
  }
}

const kubeconfigAdvice =
  'correct the kubeconfig, or name another with --kubeconfig; docs/getting-started.md shows how to create one';

function problemOf(error: unknown): Finding {
  if (isKubeError(error)) return problem(messageOf(error), error.advice);
  if (error instanceof KubeConfigError) return problem(messageOf(error), kubeconfigAdvice);
  return problem(`could not be checked: ${wordsOf(error)}`, 'correct this, then check again');
}
