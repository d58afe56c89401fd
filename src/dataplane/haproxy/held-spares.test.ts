import { expect, test } from 'vitest';
import { parseServersState } from './answers.ts';
import { makeHeldSpares } from './held-spares.ts';

test('the servers of a node in spare backends are found by its name and family', () => {
  const lines = [
    'be_name srv_name srv_addr srv_admin_state srv_uweight srv_check_state srv_port',
    'spare4-0 n1 192.0.2.11 0 1 6 0',
    'spare4-1 n1:30525:proxy2 192.0.2.11 0 1 6 30525',
    'spare4-1 n10 192.0.2.20 0 1 6 0',
    'spare6-0 n1 2001:db8::11 0 1 6 0',
    'nodes4 n1 192.0.2.11 0 1 6 0',
  ];
  const held = makeHeldSpares(parseServersState(`1\n# ${lines.join('\n')}`));
  expect(held.serversOf(4, 'n1')).toEqual(['spare4-0/n1', 'spare4-1/n1:30525:proxy2']);
  expect(held.serversOf(6, 'n1')).toEqual(['spare6-0/n1']);
});
