import { untilAborted } from '../../src/async/abort.ts';
import type { AnsweringNodes } from '../../src/dataplane/direct/probes/answering-nodes.ts';

/** Every node is known to answer clients itself. */
export const allAnswer: AnsweringNodes = {
  has: () => true,
  keep: () => undefined,
  setPaths: () => undefined,
  silent: () => new Set(),
  obstacles: () => new Map(),
  subscribe: () => () => undefined,
  run: untilAborted,
};
