import { flowAnswersContract } from '../../../test/contract/flow-answers.ts';
import { makeNatMachine } from '../../../test/make/nat-machine.ts';

flowAnswersContract('in memory', async () => ({
  exec: makeNatMachine().exec,
  [Symbol.asyncDispose]: async () => undefined,
}));
