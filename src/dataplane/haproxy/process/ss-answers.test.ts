import { ssAnswersContract } from '../../../../test/contract/ss-answers.ts';
import { makeMachineRig } from '../../../../test/make/haproxy-rig.ts';
import { listener, tableOf } from '../../../../test/make/table.ts';

ssAnswersContract('beside HAProxy in memory', async () => {
  const { machine, proxy } = makeMachineRig();
  return {
    exec: machine.exec,
    files: machine.files,
    folder: '/run/furiwake/net-1/haproxy',
    start: async () => {
      await proxy.upsert(tableOf([listener('10.50.0.1', 80, 30_080)]), new AbortController().signal);
    },
    [Symbol.asyncDispose]: async () => undefined,
  };
});
