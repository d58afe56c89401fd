import * as z from 'zod';

/** How a case ended. A case that was skipped shows nothing, so only `passed` counts. */
export type Verdict = 'passed' | 'failed' | 'skipped';

/** The end of one case. */
export type Outcome = {
  /** The full name, as Ginkgo composes it of texts and labels. */
  readonly name: string;
  readonly verdict: Verdict;
  readonly seconds: number;
  /** The first line of the failure, or of the reason for which it was skipped, and the step; empty for a case that passed. */
  readonly why: string;
};

/** When in the course of a case. */
const moment = z.object({ Order: z.number() });

const specSchema = z.object({
  ContainerHierarchyTexts: z.array(z.string()).nullable(),
  LeafNodeType: z.string(),
  LeafNodeText: z.string(),
  State: z.string(),
  RunTime: z.number(), // nanoseconds
  Failure: z.object({ Message: z.string(), TimelineLocation: moment }).optional(),
  SpecEvents: z
    .array(z.object({ SpecEventType: z.string(), Message: z.string().optional(), TimelineLocation: moment }))
    .nullish(),
});

const schema = z.tuple([z.object({ SpecReports: z.array(specSchema) })]);

/**
 * Reads the JSON report of a run of Ginkgo 2: all cases of the suite, the ones that were not chosen as `skipped`. If the
 * set-up of the suite failed, every case has.
 *
 * @throws ZodError for a text that is no such report.
 */
export function readReport(text: string): readonly Outcome[] {
  const [{ SpecReports }] = schema.parse(JSON.parse(text));
  const cases = SpecReports.filter(({ LeafNodeType }) => LeafNodeType === 'It');
  const broken = SpecReports.find(
    ({ LeafNodeType, State }) => LeafNodeType.endsWith('BeforeSuite') && verdictOf(State) === 'failed',
  );
  return cases.map((spec) => ({
    name: [...(spec.ContainerHierarchyTexts ?? []), spec.LeafNodeText].join(' '),
    verdict: verdictOf((broken ?? spec).State),
    seconds: Math.round(spec.RunTime / 1e9),
    why: whyNot(broken ?? spec),
  }));
}

/** The messages of timeouts are alike: the step says more. */
function whyNot({ Failure, SpecEvents }: z.infer<typeof specSchema>): string {
  if (Failure === undefined) return '';
  const step = (SpecEvents ?? []).findLast(
    ({ SpecEventType, TimelineLocation }) =>
      SpecEventType === 'By' && TimelineLocation.Order < Failure.TimelineLocation.Order,
  )?.Message;
  const message = Failure.Message.split('\n', 1)[0] ?? '';
  return step === undefined ? message : `${message} (step: ${step})`;
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
