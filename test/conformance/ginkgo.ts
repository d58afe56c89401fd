import * as z from 'zod';

/** How a case ended. A case that was skipped shows nothing, so only `passed` counts. */
export type Verdict = 'passed' | 'failed' | 'skipped';

/** The end of one case. */
export type Outcome = {
  /** The full name, as Ginkgo composes it of texts and labels. */
  readonly name: string;
  readonly verdict: Verdict;
  readonly seconds: number;
  /** The first line of the failure, or of the reason for which it was skipped; empty for a case that passed. */
  readonly why: string;
};

const schema = z.tuple([
  z.object({
    SpecReports: z.array(
      z.object({
        ContainerHierarchyTexts: z.array(z.string()).nullable(),
        LeafNodeType: z.string(),
        LeafNodeText: z.string(),
        State: z.string(),
        RunTime: z.number(), // nanoseconds
        Failure: z.object({ Message: z.string() }).optional(),
      }),
    ),
  }),
]);

/**
 * Reads the JSON report of a run of Ginkgo 2: all cases of the suite, the ones that were not chosen as `skipped`.
 *
 * @throws Error if the text is no such report, or the set-up of the suite failed.
 */
export function readReport(text: string): readonly Outcome[] {
  const [{ SpecReports }] = schema.parse(JSON.parse(text));
  const cases = SpecReports.filter(({ LeafNodeType }) => LeafNodeType === 'It');
  const broken = SpecReports.find((spec) => !cases.includes(spec) && verdictOf(spec.State) === 'failed');
  if (broken !== undefined) throw new Error(`the set-up of the suite failed: ${firstLine(broken)}`);
  return cases.map((spec) => ({
    name: [...(spec.ContainerHierarchyTexts ?? []), spec.LeafNodeText].join(' '),
    verdict: verdictOf(spec.State),
    seconds: Math.round(spec.RunTime / 1e9),
    why: firstLine(spec),
  }));
}

function firstLine({ Failure }: { Failure?: { Message: string } | undefined }): string {
  return Failure?.Message.split('\n', 1)[0] ?? '';
}

/** Ginkgo also knows `timedout`, `panicked`, `interrupted` and `aborted`: failures. */
function verdictOf(state: string): Verdict {
  if (state === 'passed') return 'passed';
  return state === 'skipped' || state === 'pending' ? 'skipped' : 'failed';
}

/** A regular expression of Ginkgo's that matches this case alone. */
export function focusOn(name: string): string {
  return `${name.replaceAll(/[\\^$.*+?()[\]{}|]/g, String.raw`\$&`)}$`;
}

/** A name without labels: `LoadBalancers should …`. */
export function shortName(name: string): string {
  return name.replaceAll(/\s*\[[^\]]*\]/g, '').trim();
}
