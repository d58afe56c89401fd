import { noLimits, plainProfile, plainServer } from '../../src/core/traffic/options.ts';
import type { Listener } from '../../src/core/traffic/table.ts';
import { makeHaproxyMachine } from './haproxy-machine.ts';
import { type MachineRig, makeMachineRig } from './haproxy-rig.ts';
import { listener } from './table.ts';

/** A listener of one Service whose profile is new with each timeout. */
export function withProfile(idleTimeoutMs: number): Listener {
  const options = {
    limits: noLimits,
    server: plainServer,
    profile: { ...plainProfile, idleTimeoutMs },
    isMeasured: false,
  };
  return listener('192.0.2.52', 80, 30_081, { options });
}

/** A HAProxy in memory, its programs with their first argument, and the signals for reloads. */
export function makeReloadRig(): MachineRig & { readonly ran: string[]; readonly reloads: () => number } {
  const machine = makeHaproxyMachine('/run/furiwake/net-1/haproxy');
  const ran: string[] = [];
  let reloads = 0;
  const { exec, kill } = machine;
  const recording = {
    ...machine,
    exec: {
      ...exec,
      run: (...call: Parameters<typeof exec.run>) => {
        ran.push(`${call[0]} ${call[1][0]}`);
        return exec.run(...call);
      },
    },
    kill: (...[pid, name]: Parameters<typeof kill>) => {
      if (name === 'SIGUSR2') reloads++;
      return kill(pid, name);
    },
  };
  const rig = makeMachineRig({ machine: recording });
  return { ...rig, machine, ran, reloads: () => reloads };
}
