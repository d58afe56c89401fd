import { expect, test } from 'vitest';
import { focusOn, readReport, shortName } from './ginkgo.ts';

const containers = ['[sig-network] LoadBalancers [Feature:LoadBalancer]'];

function reportOf(...specs: readonly object[]): string {
  const common = { ContainerHierarchyTexts: containers, LeafNodeType: 'It', RunTime: 0 };
  return JSON.stringify([{ SuiteSucceeded: true, SpecReports: specs.map((spec) => ({ ...common, ...spec })) }]);
}

const failure = (Message: string): object => ({ Message, TimelineLocation: { Order: 5 } });
const step = (Order: number, Message: string): object => ({
  SpecEventType: 'By',
  Message,
  TimelineLocation: { Order },
});

test('each case has its full name, verdict, seconds and the first line of its failure', () => {
  const text = reportOf(
    { LeafNodeText: 'should work [Slow]', State: 'passed', RunTime: 41_600_000_000 },
    { LeafNodeText: 'should keep', State: 'failed', Failure: failure('Source IP was NOT preserved\nat …') },
    { LeafNodeText: 'should wait', State: 'skipped', Failure: failure("LoadBalancer uses 'Proxy' IPMode") },
  );
  expect(readReport(text)).toEqual([
    { name: `${containers[0]} should work [Slow]`, verdict: 'passed', seconds: 42, why: '' },
    { name: `${containers[0]} should keep`, verdict: 'failed', seconds: 0, why: 'Source IP was NOT preserved' },
    { name: `${containers[0]} should wait`, verdict: 'skipped', seconds: 0, why: "LoadBalancer uses 'Proxy' IPMode" },
  ]);
});

test('the step during which a case failed is named, not those of the clean-up', () => {
  const SpecEvents = [
    step(1, 'create it'),
    step(3, 'wait for it'),
    { ...step(4, ''), SpecEventType: 'By (End)' },
    step(7, 'dump'),
  ];
  const text = reportOf({
    LeafNodeText: 'x',
    State: 'timedout',
    Failure: failure('A suite timeout occurred'),
    SpecEvents,
  });
  expect(readReport(text)[0]?.why).toBe('A suite timeout occurred (step: wait for it)');
});

test.each(['failed', 'timedout', 'panicked', 'interrupted', 'aborted'])('a case that is %s has failed', (State) => {
  expect(readReport(reportOf({ LeafNodeText: 'x', State }))[0]?.verdict).toBe('failed');
});

test('a case that did not run is skipped, never passed', () => {
  const verdicts = readReport(
    reportOf({ LeafNodeText: 'x', State: 'pending' }, { LeafNodeText: 'y', State: 'skipped' }),
  );
  expect(verdicts.map(({ verdict }) => verdict)).toEqual(['skipped', 'skipped']);
});

test('no case of a suite whose set-up failed was skipped: all have failed', () => {
  const setUp = { ContainerHierarchyTexts: null, LeafNodeText: '', LeafNodeType: 'SynchronizedBeforeSuite' };
  const text = reportOf(
    { ...setUp, State: 'failed', Failure: failure('Error loading client') },
    { LeafNodeText: 'x', State: 'skipped' },
  );
  expect(readReport(text)).toMatchObject([{ verdict: 'failed', why: 'Error loading client' }]);
});

test('a case is chosen by its whole name, to the end', () => {
  const name = `${containers[0]} should work for type=LoadBalancer [Slow]`;
  const focus = new RegExp(focusOn(name));
  expect(`Kubernetes e2e suite ${name}`).toMatch(focus);
  expect(`Kubernetes e2e suite ${name} [LinuxOnly]`).not.toMatch(focus);
  expect('Kubernetes e2e suite s LoadBalancers F should work for type=LoadBalancer S').not.toMatch(focus);
});

test('the short name has no labels', () => {
  expect(shortName(`${containers[0]} should have affinity [LinuxOnly] [Slow]`)).toBe(
    'LoadBalancers should have affinity',
  );
});
