// DICOM files open in our viewer: by double-click, or with Open With → DICOM.

import { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import {
  ABCWidgetFactory,
  DocumentRegistry,
  DocumentWidget
} from '@jupyterlab/docregistry';
import { Contents } from '@jupyterlab/services';
import { LabIcon } from '@jupyterlab/ui-components';
import { Message } from '@lumino/messaging';
import { Widget } from '@lumino/widgets';

import { Viewer } from '../../widgets/viewer/panel.js';
import { unpack } from '../../widgets/viewer/viewer.js';
import sliceSvg from '../style/slice.svg';
import { message } from './server';

export const sliceIcon = new LabIcon({ name: 's4s:slice', svgstr: sliceSvg });

const MEMORY = 512 * 2 ** 20; // bytes of slices that the browser keeps
const NO_CONTENT = 's4s:no-content';

/** What the viewer asks, answered by the Jupyter server for the file at `path`. */
function fileSource(path: string): object {
  const picture = async (what: string, more: Record<string, string>) => {
    const [head, buffers] = await message(`dicom/${what}`, { path, ...more });
    return unpack(head, buffers);
  };
  return {
    study: async (have: string | null) =>
      (await message('dicom/study', { path, ...(have ? { have } : {}) }))[0],
    slice: (series: string, plane: string, key: string) =>
      picture('slice', { series, plane, key }),
    thumbnail: (series: string) => picture('thumbnail', { series }),
    names: async (series: string) =>
      (await message('dicom/names', { path, series }))[0].names
  };
}

class DicomWidget extends Widget {
  constructor(path: string) {
    super();
    this.addClass('s4s-dicom');
    this._path = path;
  }

  protected onAfterShow(): void {
    if (this._viewer) {
      return;
    }
    // Its height is the tab's: style/base.css.
    this._viewer = new Viewer(fileSource(this._path), { limit: MEMORY });
    this.node.append(this._viewer.node);
    this._viewer.start();
  }

  protected onAfterAttach(): void {
    // The size is known only once the layout has settled.
    requestAnimationFrame(() => this.isVisible && this.onAfterShow());
  }

  protected onActivateRequest(_: Message): void {
    const first = this.node.querySelector<HTMLElement>('[tabindex], button');
    first?.focus();
  }

  dispose(): void {
    this._viewer?.stop();
    super.dispose();
  }

  private _path: string;
  private _viewer: Viewer | null = null;
}

class DicomFactory extends ABCWidgetFactory<DocumentWidget<DicomWidget>> {
  protected createNewWidget(
    context: DocumentRegistry.Context
  ): DocumentWidget<DicomWidget> {
    const content = new DicomWidget(context.localPath);
    const widget = new DocumentWidget({ content, context });
    widget.title.icon = sliceIcon;
    return widget;
  }
}

/** A file's facts without its bytes: the viewer asks for slices, not for the file. */
function withoutContent(drive: Contents.IDrive): object {
  return {
    get: async (path: string, options?: Contents.IFetchOptions) => {
      const bare = { ...options, content: false, contentProviderId: undefined };
      const model = await drive.get(path, bare);
      return { ...model, content: '', format: 'base64', mimetype: 'application/dicom' };
    },
    save: () => Promise.reject(new Error('DICOM files are only shown here.'))
  };
}

export const dicom: JupyterFrontEndPlugin<void> = {
  id: 's4s-notebook:dicom',
  description: 'Opens DICOM files in the viewer.',
  autoStart: true,
  activate: (app: JupyterFrontEnd): void => {
    const { docRegistry, serviceManager } = app;
    docRegistry.addFileType({
      name: 'dicom',
      displayName: 'DICOM image',
      extensions: ['.dcm', '.dicom'],
      mimeTypes: ['application/dicom'],
      // Archives name files by their UID: 1.2.840.113619.2.1
      pattern: '^\\d+(\\.\\d+){5,}$',
      contentType: 'file',
      fileFormat: 'base64',
      icon: sliceIcon
    });
    const drive = (serviceManager.contents as any).defaultDrive as
      | Contents.IDrive
      | undefined;
    const registry = (drive as any)?.contentProviderRegistry;
    if (drive && registry) {
      registry.register(NO_CONTENT, withoutContent(drive));
    }
    docRegistry.addWidgetFactory(
      new DicomFactory({
        name: 'DICOM',
        label: 'DICOM',
        modelName: 'base64',
        fileTypes: ['dicom', '*'],
        defaultFor: ['dicom'],
        readOnly: true,
        ...(registry ? { contentProviderId: NO_CONTENT } : {})
      })
    );
  }
};
