import { makeProfileBudget } from './profile-budget.ts';
import { makeServerBudget } from './server-budget.ts';
import { makeRangeBudget } from './source-ranges.ts';
import type { TrafficInput } from './plan.ts';

/** The Services that ask for more than the host has. */
export type Excesses = Pick<TrafficInput, 'overBudget' | 'overProfiles' | 'overServers'>;

export function makeBudgets(): (input: Pick<TrafficInput, 'services' | 'assignments' | 'endpoints'>) => Excesses {
  const [ranges, profiles, servers] = [makeRangeBudget(), makeProfileBudget(), makeServerBudget()];
  return (input) => ({
    overBudget: ranges(input),
    overProfiles: profiles(input.services),
    overServers: servers(input),
  });
}
