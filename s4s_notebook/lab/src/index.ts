import { commands } from './commands';
import { dicom } from './dicom';

export default [dicom, commands];
