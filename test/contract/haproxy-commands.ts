import { expect, test } from 'vitest';

/** A HAProxy that serves one listener over the nodes n1 and n2, which were there when it started. */
export type CommandScene = AsyncDisposable & {
  /** The answer to one command. */
  ask(command: string): Promise<string>;
  /** The name of its map. */
  readonly map: string;
};

const added = 'nodes4/n9 192.0.2.99 check port 10256';

/** What furiwake relies on: commands, each with the answer. */
const dialogues: Readonly<Record<string, readonly (readonly [command: string, answer: RegExp])[]>> = {
  'a server can be added once': [
    [`add server ${added}`, /^New server registered\.$/],
    [`add server ${added}`, /^Already exists a server with the same name in backend\.$/],
  ],
  'a server needs a backend': [[`add server nowhere/n9 192.0.2.99`, /^No such backend\.$/]],
  'a server can track one of the configuration, and gets its health from no command then': [
    ['add server spare4-0/n1 192.0.2.11 track nodes4/n1', /^New server registered\.$/],
    ['set server spare4-0/n1 health down', /cannot change health on a tracking server/],
  ],
  'a server cannot track one that was added at run time': [
    [`add server ${added}`, /^New server registered\.$/],
    [
      'add server spare4-0/n9 192.0.2.99 track nodes4/n9',
      /unable to use nodes4\/n9 for tracking as it is a dynamic server/,
    ],
    ['add server spare4-0/n9 192.0.2.99', /^New server registered\.$/],
    ['set server spare4-0/n9 health down', /^$/],
  ],
  'a server cannot track a missing one': [
    ['add server spare4-0/n8 192.0.2.98 track nodes4/n8', /unable to find required server/],
  ],
  'a server can be deleted in maintenance': [
    [`add server ${added}`, /^New server registered\.$/],
    ['set server nodes4/n9 state ready', /^$/],
    ['del server nodes4/n9', /^Only servers in maintenance mode can be deleted\.$/],
    ['set server nodes4/n9 state maint', /^$/],
    ['del server nodes4/n9', /^Server deleted\.$/],
    ['set server nodes4/n9 state ready', /^No such server\.$/],
  ],
  'a server that another one has tracked can never be deleted': [
    ['add server spare4-0/n1 192.0.2.11 track nodes4/n1', /^New server registered\.$/],
    ['set server spare4-0/n1 state maint', /^$/],
    ['del server spare4-0/n1', /^Server deleted\.$/],
    ['set server nodes4/n1 state maint', /^$/],
    ['del server nodes4/n1', /^This server cannot be removed at runtime/],
  ],
  'a map has a key at most once if it is set': [
    ['set map MAP absent 1', /^entry not found\.$/],
    ['add map MAP present 1', /^$/],
    ['set map MAP present 2', /^$/],
    ['del map MAP present', /^$/],
    ['del map MAP present', /^Key not found\.$/],
  ],
};

/** The contract of HAProxy's command socket, for the real one and the one in memory. */
export function haproxyCommandsContract(name: string, makeScene: () => Promise<CommandScene>): void {
  test.each(Object.entries(dialogues))(`commands of ${name}: %s`, async (_, dialogue) => {
    await using scene = await makeScene();
    for (const [command, answer] of dialogue) {
      const said = (await scene.ask(command.replace('MAP', scene.map))).trim();
      expect.soft(said, command).toMatch(answer);
    }
  });
}
