// SPDX-License-Identifier: GPL-2.0-only
/*
 * mshv.ko: /dev/mshv for Linux 6.1 as the root partition. This file is the module: what it needs
 * from the hypervisor, the device, and the end of all partitions when the machine goes down.
 */
#define pr_fmt(fmt) "mshv: " fmt

#include <linux/crash_dump.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/reboot.h>

#include "mshv_driver.h"

static long dev_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	if (cmd == MSHV_CREATE_PARTITION)
		return mshv_partition_create((void __user *)arg);
	return -ENOTTY;
}

static const struct file_operations dev_fops = {
	.owner = THIS_MODULE,
	.unlocked_ioctl = dev_ioctl,
	.llseek = noop_llseek,
};

static struct miscdevice dev = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "mshv",
	.fops = &dev_fops,
	.mode = 0600,
};

/* Process context, other CPUs alive. May be called again. */
static void end_everything(void)
{
	mshv_partitions_kill_all();
	mshv_synic_stop();
}

static int reboot_notify(struct notifier_block *nb, unsigned long code, void *unused)
{
	end_everything();
	return NOTIFY_OK;
}

static struct notifier_block reboot_nb = {
	.notifier_call = reboot_notify,
};

/* The VP run loop is for VPs that the hypervisor schedules [Linux drivers/hv/mshv_root_main.c]. */
static int check_scheduler(void)
{
	struct hv_input_get_system_property in = {
		.property_id = HV_SYSTEM_PROPERTY_SCHEDULER_TYPE,
	};
	u64 value, status;

	status = mshv_hvcall(&(struct mshv_call){
		.control = HVCALL_GET_SYSTEM_PROPERTY,
		.in = &in, .in_size = sizeof(in), .out = &value, .out_size = sizeof(value),
	});
	if (!hv_result_success(status)) {
		pr_err("asking for the hypervisor's scheduler failed, status 0x%x\n",
		       hv_result(status));
		return mshv_errno(status);
	}
	switch (lower_32_bits(value)) {
	case HV_SCHEDULER_TYPE_LP:
	case HV_SCHEDULER_TYPE_LP_SMT:
	case HV_SCHEDULER_TYPE_CORE_SMT:
		return 0;
	case HV_SCHEDULER_TYPE_ROOT:
		pr_err("the hypervisor leaves scheduling to the root (type 4): not supported, need 1 to 3\n");
		return -EOPNOTSUPP;
	default:
		pr_err("unknown scheduler type %u, need 1 to 3\n", lower_32_bits(value));
		return -EOPNOTSUPP;
	}
}

static int __init mshv_init(void)
{
	int ret;

	if (!hv_is_hyperv_initialized() || !hv_root_partition) {
		pr_err("this kernel is not the root partition of a hypervisor\n");
		return -ENODEV;
	}
	if (is_kdump_kernel()) /* whose CPUs are not those that the hypervisor knows */
		return -ENODEV;

	ret = check_scheduler();
	if (ret)
		return ret;
	ret = mshv_irqfd_module_init();
	if (ret)
		return ret;
	ret = mshv_synic_start();
	if (ret) {
		pr_err("setting up the SynIC failed: %d\n", ret);
		goto exit_irqfd;
	}
	ret = register_reboot_notifier(&reboot_nb);
	if (ret)
		goto stop_synic;
	hv_setup_kexec_handler(end_everything);
	ret = misc_register(&dev);
	if (ret)
		goto remove_handlers;
	mshv_debugfs_start();
	return 0;

remove_handlers:
	hv_remove_kexec_handler();
	unregister_reboot_notifier(&reboot_nb);
stop_synic:
	mshv_synic_stop();
exit_irqfd:
	mshv_irqfd_module_exit();
	return ret;
}

/* Every descriptor holds the module: there are no partitions any more. */
static void __exit mshv_exit(void)
{
	mshv_debugfs_stop();
	misc_deregister(&dev);
	hv_remove_kexec_handler();
	unregister_reboot_notifier(&reboot_nb);
	mshv_synic_stop();
	mshv_irqfd_module_exit();
	mshv_withdraw_root();
}

module_init(mshv_init);
module_exit(mshv_exit);

MODULE_DESCRIPTION("Partitions and virtual processors for the root partition: /dev/mshv");
MODULE_LICENSE("GPL");
