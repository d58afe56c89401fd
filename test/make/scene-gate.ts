import { untilAborted } from '../../src/async/abort.ts';
import type { Gate } from '../../src/ports/gate.ts';

/** The gate of `direct` in a scene that opens and closes it by hand, with `parts`: it asks no kube-proxy, and is open. */
export function sceneGate(parts: Partial<Gate> = {}): Gate {
  return {
    isOpen: () => true,
    isAnswering: () => true,
    subscribe: () => () => undefined,
    resume: () => undefined,
    setListeners: () => undefined,
    setNodes: () => undefined,
    run: untilAborted,
    ...parts,
  };
}
