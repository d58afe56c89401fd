import { microTime } from './lease-object.ts';
import type { ObjectReference } from './object.ts';

/** One message for users about an object. */
export type EventFacts = {
  readonly regarding: ObjectReference;
  readonly type: 'Normal' | 'Warning';
  /** CamelCase, at most 128 characters: why. */
  readonly reason: string;
  /** CamelCase, at most 128 characters: the action taken or attempted. */
  readonly action: string;
  /** For users; at most 1,024 bytes, see `cutNote`. */
  readonly note: string;
};

const maxNoteBytes = 1024;
const maxNameLength = 253;

/** An events.k8s.io/v1 Event. `suffix` makes its name unique. */
export function eventBody(
  { regarding, type, reason, action, note }: EventFacts,
  {
    suffix,
    nowMs,
    reportingController,
    reportingInstance,
  }: {
    readonly suffix: string;
    readonly nowMs: number;
    readonly reportingController: string;
    readonly reportingInstance: string;
  },
): object {
  return {
    apiVersion: 'events.k8s.io/v1',
    kind: 'Event',
    metadata: { name: eventName(regarding.name, suffix), namespace: eventNamespace(regarding) },
    eventTime: microTime(nowMs),
    type,
    reason,
    action,
    note,
    regarding,
    reportingController,
    reportingInstance: reportingInstance.slice(0, 128),
  };
}

export function eventName(name: string, suffix: string): string {
  return `${name.slice(0, maxNameLength - suffix.length - 1).replace(/[-.]+$/, '')}.${suffix}`;
}

/** Events on objects without a namespace live in `default` (events.k8s.io/v1 validation). */
export function eventNamespace({ namespace }: ObjectReference): string {
  return namespace ?? 'default';
}

/** At most 1,024 bytes of UTF-8, cut between characters. */
export function cutNote(note: string): string {
  const bytes = new TextEncoder().encode(note);
  if (bytes.length <= maxNoteBytes) return note;
  const ellipsis = '…';
  const room = maxNoteBytes - new TextEncoder().encode(ellipsis).length;
  // An incomplete last character is not decoded.
  return new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes.subarray(0, room), { stream: true }) + ellipsis;
}
