import { ssAnswersContract } from '../../../../test/contract/ss-answers.ts';
import { listener } from '../../../../test/make/table.ts';
import { namePort, startRig } from '../../../../test/netns/haproxy-rig.ts';
import { systemFiles } from '../../../main/node/files.ts';

ssAnswersContract('in a network namespace', async () => {
  const rig = await startRig({ nodes: 0 });
  return {
    exec: rig.lab.balancer.execPort,
    files: systemFiles,
    folder: `${rig.lab.folder}/haproxy`,
    start: async () => {
      await rig.newDriver().proxy.upsert(rig.table([listener('10.50.0.1', 80, namePort)]), rig.signal);
    },
    [Symbol.asyncDispose]: () => rig[Symbol.asyncDispose](),
  };
});
