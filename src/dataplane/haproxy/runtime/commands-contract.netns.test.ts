import { haproxyCommandsContract } from '../../../../test/contract/haproxy-commands.ts';
import { listener } from '../../../../test/make/table.ts';
import { namePort, startRig } from '../../../../test/netns/haproxy-rig.ts';

haproxyCommandsContract('HAProxy in a network namespace', async () => {
  const rig = await startRig({ nodes: 2 });
  await rig.newDriver().proxy.upsert(rig.table([listener('10.50.0.1', 80, namePort)]), rig.signal);
  return {
    map: `${rig.lab.folder}/haproxy/services.map`,
    ask: (command) => rig.ask(command),
    [Symbol.asyncDispose]: () => rig[Symbol.asyncDispose](),
  };
});
