import type { Probe } from '../../src/health/probe.ts';
import type { CheckAnswer } from '../../src/ports/health.ts';
import type { Machine } from './net-lab.ts';

/**
 * furiwake's own probe, run on a machine of a lab: one of this process would leave from outside of the lab. `slowness`: it waits for so
 * many times as long.
 */
export function probeFrom(machine: Machine, slowness = 1): Probe {
  return async (targets) => {
    const addresses = Array.from(targets.values(), ({ text }) => text);
    const { answers = [] } = await machine.ask({ do: 'probe', addresses, slowness });
    return new Map([...targets.keys()].map((key, index) => [key, (answers[index] ?? 'alive') as CheckAnswer]));
  };
}
