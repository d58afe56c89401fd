import { askAdmin } from '../daemon/admin.ts';
import type { HostStatus } from '../daemon/host-status.ts';
import { statePaths } from '../daemon/platform.ts';
import type { ServiceDetail } from '../daemon/service-detail.ts';
import type { TextScreen } from './screen.ts';
import { formatService } from './service-screen.ts';
import { formatStatus } from './status-screen.ts';

export type StatusRequest = {
  readonly stateDir: string;
  /** `NS/NAME`; `undefined`: all of this host. */
  readonly service: string | undefined;
  readonly isJson: boolean;
};

/**
 * `furiwake status`: what furiwake serves on this host, or one Service, as text or as the JSON of its admin socket. Throws
 * `StartError` without an answer.
 */
export async function showStatus(
  { stateDir, service, isJson }: StatusRequest,
  screen: TextScreen,
  signal: AbortSignal,
): Promise<string> {
  const path = service === undefined ? '/status' : `/service?name=${encodeURIComponent(service)}`;
  const text = await askAdmin(statePaths(stateDir).adminSocket, 'GET', path, '', signal);
  if (isJson) return text;
  return service === undefined
    ? formatStatus(JSON.parse(text) as HostStatus, screen)
    : formatService(JSON.parse(text) as ServiceDetail, screen);
}

/** `furiwake drain NODE` and `undrain NODE`: what furiwake answers. */
export async function changeDrain(
  stateDir: string,
  verb: 'drain' | 'undrain',
  node: string,
  signal: AbortSignal,
): Promise<string> {
  return askAdmin(statePaths(stateDir).adminSocket, 'POST', `/${verb}`, node, signal);
}
