import type { ServerCommand } from '../config/held-spares.ts';
import type { RuntimeApi } from './client.ts';

/**
 * Executes the commands. Resolves with the servers that HAProxy refuses to change, each with its first message.
 *
 * HAProxy 2.6 cannot track a server that was added at run time, and that of a node that joined is one. A server that should track
 * it is added without that, and `HeldSpares.follow` gives it the health of the node.
 */
export async function changeServers(
  api: RuntimeApi,
  commands: readonly ServerCommand[],
  signal: AbortSignal,
): Promise<ReadonlyMap<string, string>> {
  const perform = async (some: readonly ServerCommand[]): Promise<Map<string, string>> => {
    const refusals = await api.perform(
      some.map(({ command }) => command),
      signal,
    );
    const refused = new Map<string, string>();
    for (const [index, words] of refusals) {
      const id = some[index]?.id ?? '';
      if (!refused.has(id)) refused.set(id, words); // the first refusal causes the following ones
    }
    return refused;
  };
  const refused = await perform(commands);
  const untracked = commands.filter(({ id }) => refused.get(id)?.includes('for tracking as it is a dynamic server'));
  if (untracked.length === 0) return refused;
  for (const { id } of untracked) refused.delete(id);
  const again = await perform(untracked.map(({ id, command }) => ({ id, command: command.replace(/ track \S+/, '') })));
  return new Map([...refused, ...again]);
}
