import { flowAnswersContract } from '../../../test/contract/flow-answers.ts';
import { makeMachines } from '../../../test/netns/net-lab.ts';

flowAnswersContract('in a network namespace', async () => {
  const machines = await makeMachines(['l']);
  return { exec: machines.get('l').execPort, [Symbol.asyncDispose]: () => machines[Symbol.asyncDispose]() };
});
