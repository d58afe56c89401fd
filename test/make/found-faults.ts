import type { breakable } from './faulty-host.ts';
import type { StepName } from './host-ports.ts';

/** A listener that is wanted. */
export type Wish = {
  readonly index: number;
  readonly owner: 'x' | 'y';
  readonly range: '10.0.0.0/8' | '172.16.0.0/12' | undefined;
  readonly targetPort: number;
  readonly plane: 'nat' | 'direct' | 'standIn' | undefined;
};

type FaultKind = 'fails' | 'flaps' | 'hangs' | 'slow';

export type FaultAction =
  | { readonly do: 'publish'; readonly wishes: readonly Wish[] }
  | { readonly do: 'fault'; readonly step: StepName; readonly kind: FaultKind }
  | { readonly do: 'clear'; readonly step: StepName }
  | { readonly do: 'refuse'; readonly tool: 'proxy' | 'steering'; readonly port: number | undefined }
  | { readonly do: 'serve'; readonly isServing: boolean }
  | { readonly do: 'restart' | 'network' }
  | { readonly do: 'break'; readonly part: (typeof breakable)[number] };

export type ScheduledAction = { readonly action: FaultAction; readonly ms: number };
const web = { index: 0, owner: 'x', range: undefined, targetPort: 31_000, plane: undefined } as const;
const at = (ms: number, of: FaultAction): ScheduledAction => ({ action: of, ms });
const publish = (...wishes: Wish[]): FaultAction => ({ do: 'publish', wishes });
const fault = (step: StepName, kind: FaultKind): FaultAction => ({
  do: 'fault',
  step,
  kind,
});

/** Schedules that runs of the property of faults have found: each has violated it. */
export const foundFaults: readonly (readonly ScheduledAction[])[] = [
  // Moved to HAProxy while direct failed, then refused by nftables, which had it already: HAProxy lost it.
  [
    at(0, publish({ ...web, plane: 'direct' })),
    at(0, fault('direct.apply', 'fails')),
    at(0, publish(web)),
    at(0, { do: 'refuse', tool: 'steering', port: 80 }),
    at(0, publish(web)),
  ],
  // Wanted again while HAProxy still had it, then deleted: its connections were never ended.
  [
    at(0, publish(web)),
    at(0, fault('proxy.prune', 'hangs')),
    at(0, publish()),
    at(0, publish(web)),
    at(0, fault('steering.apply', 'hangs')),
    at(8_000, { do: 'serve', isServing: false }),
    at(0, { do: 'clear', step: 'proxy.prune' }),
    at(0, { do: 'refuse', tool: 'proxy', port: 80 }),
    at(0, publish()),
  ],
  // Withdrawn and served again during one pass: ready, and its address was missing.
  [
    at(0, publish({ ...web, index: 6, owner: 'y' })),
    at(1_100, fault('proxy.upsert', 'hangs')),
    at(0, publish(web, { ...web, index: 6, owner: 'y' })),
    at(0, { do: 'serve', isServing: false }),
    at(0, { do: 'serve', isServing: true }),
  ],
  // Changed after a restart, while nftables refuses it: ready, and HAProxy had the former nodePort.
  [
    at(0, { do: 'refuse', tool: 'steering', port: 82 }),
    at(0, publish({ ...web, index: 2, targetPort: 32_000 })),
    at(0, { do: 'restart' }),
    at(0, publish({ ...web, index: 2 })),
    at(0, { do: 'refuse', tool: 'steering', port: 80 }),
    at(8_000, fault('proxy.upsert', 'fails')),
  ],
  // Deleted and wanted again while nftables was slow: ready at once, and its address was missing.
  [
    at(25_000, publish()),
    at(8_000, fault('nat.apply', 'slow')),
    at(25_000, fault('steering.audit', 'hangs')),
    at(0, publish({ ...web, index: 3 })),
    at(8_000, fault('proxy.upsert', 'fails')),
    at(0, publish()),
    at(2_500, { do: 'clear', step: 'proxy.upsert' }),
    at(0, publish({ ...web, index: 3 })),
  ],
  // Deleted while nat was slow to take it from HAProxy: it counted as removed, and nat had it.
  [
    at(0, publish(web)),
    at(0, fault('nat.apply', 'fails')),
    at(0, publish({ ...web, plane: 'nat' })),
    at(1_100, fault('nat.apply', 'slow')),
    at(0, publish()),
    at(0, fault('proxy.upsert', 'slow')),
    at(0, fault('nat.apply', 'hangs')),
    at(8_000, fault('placement.audit', 'fails')),
  ],
  // Moved from nat to direct before its address was added, then deleted: another Service got the port, and direct still had it.
  [
    at(0, fault('placement.audit', 'hangs')),
    at(0, publish({ ...web, index: 5, owner: 'y' })),
    at(25_000, publish({ ...web, index: 5, owner: 'y', plane: 'direct' })),
    at(0, fault('direct.apply', 'fails')),
    at(0, publish()),
    at(0, publish({ ...web, index: 5 })),
  ],
  // Moved to nat while its address could not be added, and back while HAProxy refused it: it was steered to HAProxy nevertheless.
  [
    at(0, fault('placement.add', 'fails')),
    at(0, publish({ ...web, index: 3 })),
    at(0, publish({ ...web, index: 3, plane: 'nat' })),
    at(0, { do: 'refuse', tool: 'proxy', port: 83 }),
    at(0, publish({ ...web, index: 3 })),
  ],
  // HAProxy refuses the listener after its death.
  [
    at(0, publish(web)),
    at(0, { do: 'break', part: 'HAProxy' }),
    at(0, { do: 'refuse', tool: 'proxy', port: 80 }),
    at(25_000, { do: 'network' }),
    at(25_000, { do: 'network' }),
    at(25_000, { do: 'serve', isServing: false }),
  ],
  // Withdrawn, then it served again while placement was slow to remove: the next audit announced what was removed.
  [
    at(0, fault('proxy.upsert', 'slow')),
    at(0, fault('placement.remove', 'slow')),
    at(1_100, publish(web)),
    at(2_500, fault('steering.apply', 'slow')),
    at(1_100, { do: 'clear', step: 'proxy.upsert' }),
    at(8_000, fault('proxy.check', 'fails')),
    at(300, fault('proxy.upsert', 'slow')),
    at(1_100, { do: 'clear', step: 'proxy.check' }),
    at(0, { do: 'serve', isServing: false }),
    at(1_100, publish()),
    at(0, fault('proxy.upsert', 'fails')),
    at(2_500, { do: 'serve', isServing: true }),
    at(1_100, fault('proxy.upsert', 'fails')),
  ],
  // Withdrawn, then it served again while placement was slow to add nothing: it announced an address that was missing.
  [
    at(0, { do: 'refuse', tool: 'steering', port: 91 }),
    at(0, publish({ ...web, index: 7, owner: 'y', plane: 'nat' })),
    at(0, fault('direct.apply', 'flaps')),
    at(0, publish({ ...web, index: 7, owner: 'y' })),
    at(0, fault('placement.add', 'slow')),
    at(25_000, { do: 'serve', isServing: false }),
    at(0, publish()),
    at(0, { do: 'clear', step: 'proxy.upsert' }),
    at(0, { do: 'serve', isServing: true }),
    at(2_500, publish()),
  ],
  // New at nat when another one moved there while nft had not answered, then deleted: nat still had it.
  [
    at(0, { do: 'serve', isServing: false }),
    at(0, publish({ ...web, index: 3, owner: 'x', targetPort: 31_000 })),
    at(0, fault('steering.apply', 'hangs')),
    at(2_500, { do: 'serve', isServing: true }),
    at(
      2_500,
      publish(
        { ...web, index: 4, owner: 'x', targetPort: 31_000 },
        { ...web, index: 3, owner: 'x', targetPort: 31_000, plane: 'nat' },
      ),
    ),
    at(0, publish()),
    at(0, publish()),
    at(0, fault('proxy.upsert', 'fails')),
    at(0, { do: 'clear', step: 'proxy.upsert' }),
    at(0, { do: 'refuse', tool: 'proxy', port: 80 }),
  ],
  // nat had flows of another Service left, and did not take it when it moved there: nothing served it while nat failed.
  [
    at(0, publish({ ...web, index: 2, owner: 'y', plane: 'nat' })),
    at(0, publish({ ...web, index: 2 })),
    at(0, fault('nat.apply', 'fails')),
    at(0, publish({ ...web, index: 2, plane: 'nat' })),
    at(0, publish()),
    at(0, { do: 'restart' }),
    at(0, publish()),
  ],
  // Moved to nat, which took it and then failed, and back while nftables refused it: nat lost it.
  [
    at(0, publish({ ...web, index: 2 })),
    at(0, { do: 'refuse', tool: 'steering', port: 82 }),
    at(0, fault('nat.apply', 'flaps')),
    at(0, publish({ ...web, index: 2, plane: 'nat' })),
    at(1_100, publish({ ...web, index: 2 })),
    at(0, publish()),
  ],
  // Never programmed, because nft hung, it moved to nat beside one that was: nat had it, and it was forgotten.
  [
    at(0, fault('proxy.prune', 'slow')),
    at(0, fault('steering.apply', 'hangs')),
    at(25_000, publish({ ...web }, { ...web, index: 3, owner: 'y', plane: 'direct' })),
    at(0, publish({ ...web, plane: 'nat' }, { ...web, index: 3, owner: 'y', plane: 'nat' })),
    at(0, { do: 'serve', isServing: false }),
    at(0, publish()),
    at(0, fault('proxy.upsert', 'fails')),
  ],
  // It moved from nat to HAProxy, which failed, and another one the other way, while nftables failed: nat lost it.
  [
    at(0, publish({ ...web, index: 1, owner: 'y' }, { ...web, owner: 'y', plane: 'nat' })),
    at(0, fault('proxy.upsert', 'fails')),
    at(0, fault('steering.apply', 'fails')),
    at(0, publish({ ...web, owner: 'y' }, { ...web, index: 1, owner: 'y', plane: 'nat' })),
  ],
  // A slow removal of a host that was withdrawn for a moment: the address was missing while its listener counted as in force.
  [
    at(0, fault('placement.remove', 'slow')),
    at(25_000, publish({ ...web, owner: 'y' })),
    at(0, publish({ ...web, index: 1 }, web)),
    at(0, { do: 'clear', step: 'proxy.upsert' }),
    at(0, fault('proxy.upsert', 'fails')),
    at(0, { do: 'serve', isServing: false }),
    at(8_000, { do: 'serve', isServing: true }),
  ],
];
